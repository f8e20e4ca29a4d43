"""The door to FastAPI and pydantic: what PersLM uses of them, and nothing else opens them.

Starlette, which FastAPI is built on, is reached through FastAPI's own names.
"""

from __future__ import annotations

from fastapi import APIRouter, FastAPI, Query, UploadFile
from fastapi import Form as FormField
from fastapi import Request as HttpRequest
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.responses import Response as HttpResponse
from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "APIRouter",
    "BaseModel",
    "ConfigDict",
    "FastAPI",
    "Field",
    "FormField",
    "HttpRequest",
    "HttpResponse",
    "JSONResponse",
    "Query",
    "RequestValidationError",
    "UploadFile",
]
