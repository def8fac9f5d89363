"""Secrets by their place, who may speak, and TLS: read and checked before anything is served."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from pydantic import BaseModel, ConfigDict, model_validator

from hypocenter.errors import SourceError


class Strict(BaseModel):
    """A section whose keys are all known, and whose values no error repeats."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Secret(Strict):
    """A secret's place: ``file`` or ``env``, never the secret itself."""

    file: Path | None = None
    env: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Secret:
        if (self.file is None) == (self.env is None):
            raise ValueError("a secret is {file: PATH} or {env: NAME}, never written here")
        return self

    def read(self, key: str) -> str:
        """Return the secret of a ``key`` of the configuration.

        Raises SourceError, with key and place, when there is none or no request could carry it.
        """
        if self.env is not None:
            place, found = f"the environment variable {self.env}", os.environ.get(self.env, "")
        else:
            assert self.file is not None
            place = str(self.file)
            try:
                found = self.file.read_text(encoding="utf-8").strip()
            except OSError as error:
                remedy = "write the secret there, where the hook may read it"
                raise SourceError(f"{key}: {place} cannot be read: {error.strerror}; {remedy}") from error
            except UnicodeDecodeError:
                raise SourceError(f"{key}: {place} is not text; write the secret there as UTF-8") from None
        if not found:
            raise SourceError(f"{key}: {place} is empty; put the secret there")
        if not found.isprintable():
            raise SourceError(f"{key}: {place} holds more than one line; leave only the secret there")
        return found


class Basic(Strict):
    """Name and password."""

    user: str
    password: Secret


class Auth(Strict):
    """What a request must carry: any one of those given."""

    bearer: Secret | None = None
    basic: Basic | None = None

    def read(self) -> tuple[str | None, str | None]:
        """Return the token, and user and password with a colon between; SourceError when a secret cannot be read."""
        bearer = None if self.bearer is None else self.bearer.read("auth.bearer")
        if self.basic is None:
            return bearer, None
        return bearer, f"{self.basic.user}:{self.basic.password.read('auth.basic.password')}"


class Tls(Strict):
    """The server's certificate; with ``client_ca`` a client must show one that it signed (mTLS)."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def check(self) -> None:
        """Raise SourceError, with the key, for a file that cannot be read or used."""
        for key in ("certificate", "key", "client_ca"):
            path: Path | None = getattr(self, key)
            try:
                if path is not None:
                    path.read_bytes()
            except OSError as error:
                remedy = "name a PEM file that the hook may read"
                raise SourceError(f"tls.{key}: {path} cannot be read: {error.strerror}; {remedy}") from error
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # Else OpenSSL asks for the passphrase at a terminal that a service does not have.
            context.load_cert_chain(self.certificate, self.key, password=lambda: "")
        except (OSError, ValueError) as error:
            files = f"{self.certificate} and {self.key}"
            remedy = "give PEM files, the key that of the certificate and without a passphrase"
            raise SourceError(
                f"tls.certificate, tls.key: {files} cannot be used: {_reason(error)}; {remedy}"
            ) from error
        try:
            if self.client_ca is not None:
                context.load_verify_locations(self.client_ca)
        except (OSError, ValueError) as error:
            remedy = "give the PEM certificate of the authority that signs clients"
            raise SourceError(f"tls.client_ca: {self.client_ca} cannot be used: {_reason(error)}; {remedy}") from error


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or str(error)
