"""Views of the example's project."""

import os

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.urls import path
from tenure_workers.django import get_registry, get_store

import tenure


def index(_request: HttpRequest) -> JsonResponse:
    """Say who answers."""
    return JsonResponse({"port": settings.PORT, "pid": os.getpid()})


def orders(_request: HttpRequest) -> JsonResponse:
    """Give an order its number."""
    return JsonResponse({"number": tenure.Counter(get_store(), "orders").add(), "pid": os.getpid()})


def instances(_request: HttpRequest) -> JsonResponse:
    """Say who is there."""
    found = get_registry().get_services().get("shop", ())
    return JsonResponse({"instances": [each.address for each in found]})


urlpatterns = [path("", index), path("orders", orders), path("instances", instances)]
