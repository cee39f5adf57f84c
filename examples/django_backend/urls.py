"""The site's addresses: a login for devices, and all that the backend toolkit has below `/api`."""

from django.urls import include, path

from backend import backend, user_of_request
from syncline.backend.django import sync_urls
from views import login

urlpatterns = [
    path("login", login),
    path("", include(sync_urls(backend, current_user=user_of_request))),
]
