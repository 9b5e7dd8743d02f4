"""Who may see the page: host names, token or proxy user, sessions, CSRF tokens, and the headers of every answer.

Pure decisions over plain values; ``app`` puts them in front of the routes.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge.config import DashboardSettings
from edge.mqtt_tls import refuse_readable_by_others
from edge.settings import ConfigError

COOKIE = "wavewall_session"
CSRF_HEADER = "x-wavewall-csrf"
SESSION_S = 12 * 3600.0
MAX_LEFT = 1024
# Wrong tokens: a person mistypes a few; a guesser gets no further than this, however many addresses it has.
WRONG_PER_PEER, WRONG_IN_ALL, WRONG_WINDOW_S = 5, 50, 60.0
MAX_PEERS = 1024
LEAST_TOKEN = 12
_EVERY = ("0.0.0.0", "::")  # noqa: S104 - what a user may have asked for  # nosec B104
_LOOPBACK = ("127.0.0.1", "localhost", "::1")

HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        b"font-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
    (b"cache-control", b"no-store"),
)


def split_listen(listen: str) -> tuple[str, int]:
    """("127.0.0.1", 8787) of `127.0.0.1:8787` or `[::1]:8787`, as the settings let through."""
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    return host in _LOOPBACK or host.startswith("127.")


def read_token(settings: DashboardSettings) -> str | None:
    """The token, from the setting or its file. Raises ConfigError for a file others can read, or a short token."""
    path = settings.token_file
    if path is not None:
        refuse_readable_by_others(path, "dashboard.token_file")
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            says = f"{path}: cannot be read ({error}); give a file whose first line is the token"
            raise ConfigError(says, key="dashboard.token_file") from error
        token = lines[0].strip() if lines else ""
    elif settings.token is not None:
        token = settings.token.get_secret_value().strip()
    else:
        return None
    if len(token) < LEAST_TOKEN:
        raise ConfigError(
            f"the dashboard's token has {len(token)} characters; use {LEAST_TOKEN} or more, "
            'e.g. from: python3 -c "import secrets; print(secrets.token_urlsafe())"',
            key="dashboard.token",
        )
    return token


@dataclass(frozen=True, slots=True)
class Session:
    """One browser. `csrf` must come back with every request that does something."""

    user: str
    nonce: str
    csrf: str
    until: float


class Guard:
    """All of it for one dashboard. Used by one thread.

    A session is its cookie: user, end and nonce, authenticated with a key that follows from the token. So a page on
    a wall stays in when the agent restarts, and another token ends every session.
    """

    def __init__(
        self,
        settings: DashboardSettings,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        utc: Callable[[], float] = time.time,
    ) -> None:
        host, _ = split_listen(settings.listen or "127.0.0.1:0")
        self._token = read_token(settings)
        self._user_header = settings.user_header.lower() if settings.user_header else None
        self._proxies = frozenset(settings.proxies)
        if not is_loopback(host) and self._token is None and self._user_header is None:
            raise ConfigError(
                f"dashboard.listen = {settings.listen!r} can be reached from other machines: set dashboard.token_file, "
                "or dashboard.user_header behind a reverse proxy, or listen on 127.0.0.1",
                key="dashboard.listen",
            )
        # On every address the host part cannot be known, but an attacker's DNS name is never a bare address.
        self._any_address = host in _EVERY
        named = {host, *settings.hosts, *(_LOOPBACK if is_loopback(host) or self._any_address else ())}
        self._hosts = {name.lower() for name in named}
        self._monotonic, self._utc = monotonic, utc
        fixed = f"wavewall dashboard session\n{self._token}".encode()
        self._key = hashlib.sha256(fixed).digest() if self.needs_token else secrets.token_bytes(32)
        self._left: OrderedDict[str, None] = OrderedDict()  # nonces that logged out
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()
        self._wrong_in_all: deque[float] = deque(maxlen=WRONG_IN_ALL)

    @property
    def needs_token(self) -> bool:
        return self._token is not None and self._user_header is None

    def host_is_ours(self, header: str) -> bool:
        """Whether a Host header names this page; a foreign name is DNS rebinding."""
        name = header.strip().lower()
        if name.startswith("["):
            name = name[1:].partition("]")[0]
        else:
            name = name.partition(":")[0]
        return name in self._hosts or (self._any_address and _is_address(name))

    def user(self, peer: str, headers: Mapping[str, str], cookies: Mapping[str, str]) -> Session | None:
        """The session of a request, None where it must first say who it is. Proxy users get one by themselves."""
        session = self._session(cookies.get(COOKIE, ""))
        if self._user_header is not None:
            name = headers.get(self._user_header, "") if peer in self._proxies else ""
            if not name:
                return None
            return session if session is not None and session.user == name[:128] else None
        return session

    def enter(self, peer: str, headers: Mapping[str, str]) -> tuple[str, Session] | None:
        """A new session without a token: on the loopback without one, or for a proxy's user."""
        if self._user_header is not None:
            name = headers.get(self._user_header, "") if peer in self._proxies else ""
            return self._open(name[:128]) if name else None
        return self._open("local") if self._token is None else None

    def wait_s(self, peer: str) -> int:
        """Seconds until this peer may try a token again; 0 now."""
        now = self._monotonic()
        waits = [0.0]
        mine = self._wrong.get(peer)
        if mine is not None and len(mine) >= WRONG_PER_PEER:
            waits.append(mine[0] + WRONG_WINDOW_S - now)
        if len(self._wrong_in_all) >= WRONG_IN_ALL:
            waits.append(self._wrong_in_all[0] + WRONG_WINDOW_S - now)
        longest = max(waits)
        return int(longest) + 1 if longest > 0 else 0

    def log_in(self, peer: str, token: str) -> tuple[str, Session] | None:
        """A session for the right token. Ask `wait_s` first."""
        given = self._token or ""
        if self._token is not None and hmac.compare_digest(token.encode(), given.encode()):
            self._wrong.pop(peer, None)
            return self._open("token")
        now = self._monotonic()
        self._wrong_in_all.append(now)
        self._wrong.setdefault(peer, deque(maxlen=WRONG_PER_PEER)).append(now)
        self._wrong.move_to_end(peer)
        if len(self._wrong) > MAX_PEERS:
            self._wrong.popitem(last=False)
        return None

    def log_out(self, session: Session) -> None:
        self._left[session.nonce] = None
        if len(self._left) > MAX_LEFT:
            self._left.popitem(last=False)

    def may_act(self, session: Session, headers: Mapping[str, str]) -> bool:
        """Whether a request that does something comes from our own page: its CSRF token, and no foreign origin."""
        site = headers.get("sec-fetch-site", "same-origin")
        given = headers.get(CSRF_HEADER, "")
        return site == "same-origin" and hmac.compare_digest(given.encode(), session.csrf.encode())

    def _session(self, cookie: str) -> Session | None:
        """What a cookie says, where it is ours, in time and not logged out."""
        body, _, mac = cookie.rpartition(".")
        if not body or not hmac.compare_digest(mac.encode(), self._mac(body).encode()):
            return None
        user, until, nonce = body.split(".")
        if float(until) < self._utc() or nonce in self._left:
            return None
        return Session(bytes.fromhex(user).decode(), nonce, self._mac(f"csrf {nonce}"), float(until))

    def _open(self, user: str) -> tuple[str, Session]:
        until = int(self._utc() + SESSION_S)
        body = f"{user.encode().hex()}.{until}.{secrets.token_hex(16)}"
        cookie = f"{body}.{self._mac(body)}"
        session = self._session(cookie)
        assert session is not None  # just made
        return cookie, session

    def _mac(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()


def _is_address(name: str) -> bool:
    import ipaddress

    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
