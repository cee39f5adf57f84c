"""Who may upload, and who issues tokens: keys that rotate, other issuers, and the service's own configuration.

`rotation` (when a key does what; pure), `key_folder` (key files), `rotating_signer`, `providers` (Supabase and others as data; pure),
`provider_verifier`, `service_config`. What they are given to: `syncline.backend.tokens`. How to use them: docs/howto/backend-auth.md.
"""

from __future__ import annotations

from syncline.backend.auth.provider_verifier import ProviderVerifier
from syncline.backend.auth.providers import Provider, auth0, clerk, cognito, firebase, keycloak, supabase
from syncline.backend.auth.rotating_signer import RotatingSigner
from syncline.backend.auth.rotation import KeyStage, RotationRules
from syncline.backend.auth.service_config import ServiceConfigVerifier, read_client_auth

__all__ = [
    "KeyStage",
    "Provider",
    "ProviderVerifier",
    "RotatingSigner",
    "RotationRules",
    "ServiceConfigVerifier",
    "auth0",
    "clerk",
    "cognito",
    "firebase",
    "keycloak",
    "read_client_auth",
    "supabase",
]
