# Validates a certificate and its key with openssl before a server loads them. Sourced by scripts of the charts edge and
# coturn. Each chart has a copy of this file; a unit test checks that the copies are identical.

# If no server can use this certificate with this key, prints the reason and fails. Otherwise prints nothing.
check_certificate() {
    local certificate=$1 key=$2 file blocks readable
    for file in "$certificate" "$key"; do
        grep -q '[^[:space:]]' "$file" 2> /dev/null || {
            printf '%s is empty\n' "${file##*/}"
            return 1
        }
    done
    openssl x509 -in "$certificate" -noout 2> /dev/null || {
        printf '%s: no certificate can be read\n' "${certificate##*/}"
        return 1
    }
    # grep exits with 1 if it counts no match.
    blocks=$(grep -cE -- '-----BEGIN (X509 |TRUSTED )?CERTIFICATE-----' "$certificate") || true
    readable=$(certificate_names "$certificate" | grep -c '^subject=') || true
    ((blocks == readable)) || {
        printf '%s: not all of its %s certificates can be read\n' "${certificate##*/}" "$blocks"
        return 1
    }
    ! grep -qE -- '-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED' "$key" || {
        printf '%s is encrypted: a server has no passphrase for it\n' "${key##*/}"
        return 1
    }
    # With -passin, openssl never asks for a passphrase.
    openssl pkey -in "$key" -passin pass: -noout 2> /dev/null || {
        printf '%s: no private key can be read\n' "${key##*/}"
        return 1
    }
    # An export checks that key and certificate match, as a server does. Only the first certificate is passed, because
    # that is the server's own.
    openssl x509 -in "$certificate" 2> /dev/null |
        openssl pkcs12 -export -inkey "$key" -passin pass: -passout pass: -out /dev/null 2> /dev/null || {
        printf '%s does not belong to the first certificate in %s\n' "${key##*/}" "${certificate##*/}"
        return 1
    }
}

# Prints one line for each property of the certificate that clients may refuse. A server still loads such a certificate,
# as it would after a restart. So all servers that have these files present the same certificate.
certificate_warnings() {
    local certificate=$1 now=$EPOCHSECONDS word text issuer= position=0
    while IFS== read -r word text; do
        case $word in
        notBefore) (($(date -d "$text" +%s) <= now)) || printf 'valid only from %s on\n' "$text" ;;
        notAfter) (($(date -d "$text" +%s) > now)) || printf 'expired since %s\n' "$text" ;;
        esac
    done < <(openssl x509 -in "$certificate" -noout -dates)
    while IFS== read -r word text; do
        case $word in
        subject)
            ((++position == 1)) || [[ $text == "$issuer" ]] ||
                printf 'certificate %s is not the issuer of the one before it\n' "$position"
            ;;
        issuer) issuer=$text ;;
        esac
    done < <(certificate_names "$certificate")
}

# Prints subject=... and issuer=... of each readable certificate, in the order of the file.
certificate_names() {
    openssl crl2pkcs7 -nocrl -certfile "$1" 2> /dev/null | openssl pkcs7 -print_certs -noout 2> /dev/null
}
