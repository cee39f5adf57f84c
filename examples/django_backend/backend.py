"""What sync needs to know of the site: who may write what, and who sends a request."""

from base64 import urlsafe_b64decode

from django.conf import settings
from django.core import signing
from django.http import HttpRequest

from syncline.auth.signer import TokenSigner
from syncline.backend import AuthenticatedUser, BackendAuth, SyncBackend, TablePolicy, via
from syncline.backend.django import signed_in_user
from syncline.backend.persisters.postgres import PostgresPersister

LOGIN_S = 30 * 24 * 3600  # seconds for which a device stays signed in
SALT = "todos.device"

backend = SyncBackend(
    persister=PostgresPersister(settings.SYNC_DSN),
    auth=BackendAuth(
        TokenSigner.from_secret(urlsafe_b64decode(f"{settings.SYNC_SECRET}="), kid="todos"),
        audience="todos",
        service_url=f"{settings.SITE_URL}/sync-service",
        lifetime_s=300,
    ),
    tables={
        "lists": TablePolicy(owner="owner_id", columns=["name"]),
        "todos": TablePolicy(owner=via("lists", "list_id"), columns=["list_id", "title", "done"]),
    },
)


def login_token(user_id: object) -> str:
    """What a device keeps when its user has signed in."""
    return signing.dumps(str(user_id), salt=SALT)


def user_of_request(request: HttpRequest) -> AuthenticatedUser | None:
    """The user of a device's login token, else that of the browser's session; None for nobody."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return signed_in_user(request)
    try:
        return AuthenticatedUser(signing.loads(token, salt=SALT, max_age=LOGIN_S))
    except signing.BadSignature:
        return None
