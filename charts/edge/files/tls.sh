# Validates a certificate and its key by openssl before a server gets them. Sourced by scripts of the charts edge and
# coturn; each chart has a copy of this file, and a unit test compares the copies.

# Prints why no server can use this certificate with this key, and fails; prints nothing where one can.
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
    # grep fails where it counts none.
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
    # Never asks for a passphrase.
    openssl pkey -in "$key" -passin pass: -noout 2> /dev/null || {
        printf '%s: no private key can be read\n' "${key##*/}"
        return 1
    }
    # An export compares the two as a server does. It gets the first certificate only: that is the server's own.
    openssl x509 -in "$certificate" 2> /dev/null |
        openssl pkcs12 -export -inkey "$key" -passin pass: -passout pass: -out /dev/null 2> /dev/null || {
        printf '%s does not belong to the first certificate in %s\n' "${key##*/}" "${certificate##*/}"
        return 1
    }
}

# Prints what clients may refuse, a line each. A server serves such a certificate all the same, as it would after a
# restart: all servers that have these files then show the same one.
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

# subject=... and issuer=... of each certificate that can be read, in the file's order.
certificate_names() {
    openssl crl2pkcs7 -nocrl -certfile "$1" 2> /dev/null | openssl pkcs7 -print_certs -noout 2> /dev/null
}
