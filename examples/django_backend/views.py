"""The login of devices. A site has more pages."""

import json

from django.contrib.auth import authenticate
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from backend import login_token


@csrf_exempt  # it goes by name and password, not by a cookie
@require_POST
def login(request: HttpRequest) -> JsonResponse:
    """`POST /login` with name and password of a Django user: a token for `connector.login(token)`."""
    asked = json.loads(request.body)
    user = authenticate(request, username=asked.get("name"), password=asked.get("password"))
    if user is None:
        return JsonResponse({"detail": "Name or password is wrong."}, status=401)
    return JsonResponse({"token": login_token(user.pk)})
