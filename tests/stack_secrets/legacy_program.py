"""An earlier version's program, reduced to the resources that the takeover handles; see test_takeover."""

RANDOM_SECRET = """\
import secrets
import pulumi
from pulumi.dynamic import CreateResult, Resource, ResourceProvider

class RandomSecretProvider(ResourceProvider):
    serialize_as_secret_always = False
    def create(self, props):
        return CreateResult(id_=secrets.token_hex(8), outs={**props, "value": secrets.token_urlsafe(32)})

class RandomSecret(Resource, module="livekit-platform", name="RandomSecret"):
    value: pulumi.Output[str]
    def __init__(self, name, opts):
        opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(additional_secret_outputs=["value"]))
        super().__init__(RandomSecretProvider(), name, {"generation": 1, "value": None}, opts)
"""

CERTIFICATES = """\
import secrets
import pulumi
from pulumi.dynamic import CreateResult, Resource, ResourceProvider
from new_certificates import KeyPair, new_authority, new_server_certificate, server_names

def made(props, pair):
    outs = {**props, "certificate": pair.certificate, "private_key": pair.private_key}
    return CreateResult(id_=secrets.token_hex(8), outs=outs)

class CertificateAuthorityProvider(ResourceProvider):
    serialize_as_secret_always = False
    def create(self, props):
        return made({"domain": props["domain"]}, new_authority(props["domain"]))

class ServerCertificateProvider(ResourceProvider):
    serialize_as_secret_always = False
    def create(self, props):
        authority = KeyPair(props["ca_certificate"], props["ca_private_key"])
        return made({"names": props["names"]}, new_server_certificate(props["names"], authority))

def with_secret(opts):
    secret = pulumi.ResourceOptions(additional_secret_outputs=["private_key"])
    return pulumi.ResourceOptions.merge(opts, secret)

class CertificateAuthority(Resource, module="livekit-platform", name="CertificateAuthority"):
    certificate: pulumi.Output[str]
    private_key: pulumi.Output[str]
    def __init__(self, name, domain, opts):
        props = {"domain": domain, "certificate": None, "private_key": None}
        super().__init__(CertificateAuthorityProvider(), name, props, with_secret(opts))

class ServerCertificate(Resource, module="livekit-platform", name="ServerCertificate"):
    certificate: pulumi.Output[str]
    private_key: pulumi.Output[str]
    def __init__(self, name, domain, authority, opts):
        props = {
            "names": server_names(domain),
            "ca_certificate": authority.certificate,
            "ca_private_key": authority.private_key,
            "certificate": None,
            "private_key": None,
        }
        super().__init__(ServerCertificateProvider(), name, props, with_secret(opts))
"""

# The Stash, a built-in resource of the engine, replaces the Secret objects: it also depends on the secrets.
BEFORE = """\
import pulumi
from livekit_platform.certificates import CertificateAuthority, ServerCertificate
from livekit_platform.random_secret import RandomSecret

secrets = pulumi.ComponentResource("livekit-platform:components:PlatformSecrets", "secrets", {})
kept = pulumi.ResourceOptions(parent=secrets, protect=True)
made = {name: RandomSecret(name.replace("_", "-"), kept) for name in NAMES}
tls = pulumi.ComponentResource("livekit-platform:components:Tls", "tls", {})
authority = CertificateAuthority("edge-ca", DOMAIN, pulumi.ResourceOptions(parent=tls, protect=True))
server = ServerCertificate("edge-certificate", DOMAIN, authority, pulumi.ResourceOptions(parent=tls))
values = {name: secret.value for name, secret in made.items()}
values |= {
    "ca_certificate": authority.certificate,
    "ca_private_key": authority.private_key,
    "server_certificate": server.certificate,
    "server_private_key": server.private_key,
}
opts = pulumi.ResourceOptions(parent=tls, depends_on=[authority, *made.values()])
pulumi.Stash("edge-tls", input=pulumi.Output.all(**values), opts=opts)
pulumi.export("values", pulumi.Output.all(**values))
"""

AFTER = """\
import pulumi

config = pulumi.Config("livekit-platform")
secrets = config.require_object("secrets")
values = {**{name: secrets[name] for name in NAMES}, **config.require_object("certificates")}
tls = pulumi.ComponentResource("livekit-platform:components:Tls", "tls", {})
pulumi.Stash("edge-tls", input=pulumi.Output.secret(values), opts=pulumi.ResourceOptions(parent=tls))
pulumi.export("values", pulumi.Output.secret(values))
"""
