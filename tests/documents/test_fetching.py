"""Pages, fetched from real servers on loopback: what is taken, what is refused, and how long anybody waits."""

from __future__ import annotations

import contextlib
import gzip
import signal
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from aichat_cli.core.errors import DocumentError
from aichat_cli.documents.addresses import is_public
from aichat_cli.documents.fetching import FetchedPage, Fetcher, NotModified
from aichat_cli.providers.connect import connect_to, proxy_headers
from tests.runner import Cli
from tests.servers.pages import PageServer, Script, dripping, gzipped, page, redirect, unless_known
from tests.servers.raw import CERTIFICATE, ForwardProxy, RawServer, tls_context

MB = 1_000_000


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def web() -> Iterator[PageServer]:
    with PageServer() as running:
        yield running


def fetcher(*, max_bytes: int = MB, allow_private: bool = True) -> Fetcher:
    return Fetcher(connect_to, proxy_headers, max_bytes=max_bytes, allow_private=allow_private)


def fetched(url: str, **options: Any) -> FetchedPage:
    result = fetcher().fetch(url, **options)
    assert isinstance(result, FetchedPage)
    return result


def refused(url: str, said: str, *, by: Fetcher | None = None, **options: Any) -> DocumentError:
    with pytest.raises(DocumentError) as error:
        (by or fetcher()).fetch(url, **options)
    assert said in error.value.message
    return error.value


def test_a_page_comes_with_its_address_type_and_charset(web: PageServer) -> None:
    web.pages["/a?b=c"] = page("grüße".encode("latin-1"), "Content-Type: text/html; charset=iso-8859-1", 'ETag: "1"')

    assert fetched(web.url("/a?b=c#part")) == FetchedPage(
        web.url("/a?b=c"), "grüße".encode("latin-1"), "text/html; charset=iso-8859-1", 'If-None-Match: "1"'
    )
    assert web.heads[1].startswith("GET /a?b=c HTTP/1.1\r\n")
    assert f"Host: 127.0.0.1:{web.port}\r\n" in web.heads[1]


def test_paths_of_any_script_and_with_two_slashes_are_asked_for_as_they_are(web: PageServer) -> None:
    web.pages |= {"/caf%C3%A9%20au": page("coffee"), "//two//slashes": page("two")}

    assert fetched(web.url("/café au")).content == b"coffee"
    assert fetched(web.url("/caf%C3%A9%20au")).content == b"coffee"
    assert fetched(web.url("//two//slashes")).content == b"two"


def test_redirects_are_followed_to_the_page_they_mean(web: PageServer) -> None:
    web.pages |= {
        "/1": redirect("/2", "301 Moved"),
        "/2": redirect(web.url("/3"), "307 Temporary"),
        "/3": b"HTTP/1.1 308 P\r\nContent-Length: 0\r\nLocation: /caf\xc3\xa9\r\n\r\n",
        "/caf%C3%A9": page("here"),
    }

    result = fetched(web.url("/1"))
    assert (result.content, web.paths) == (b"here", ["/1", "/2", "/3", "/caf%C3%A9"])
    assert result.url == web.url("/café")


def test_a_loop_of_redirects_ends(web: PageServer) -> None:
    web.pages |= {"/a": redirect("/b"), "/b": redirect("/a")}

    refused(web.url("/a"), "It redirects more than 5 times.")
    assert len(web.paths) == 6


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("file:///etc/passwd", "Only http and https are fetched, not file."),
        ("ftp://example.com/", "not ftp"),
        ("data:text/plain,x", "not data"),
        ("http://me:word@127.0.0.1/", "A URL with a user name or a password is not fetched"),
        ("http://127.0.0.1:99999/", "is no URL that can be fetched"),
        ("http://me:word@127.0.0.1:99999/", "is no URL that can be fetched"),
        ("http://[::1/", "It redirects to what is no URL."),
        ("http://[x]/", "It redirects to what is no URL."),
    ],
)
def test_a_redirect_leads_nowhere_that_could_not_be_asked_for(web: PageServer, location: str, said: str) -> None:
    web.pages["/"] = redirect(location)

    error = refused(web.url(), said)
    assert "me:word" not in error.message
    assert web.connections == 2


def test_a_robots_txt_that_redirects_to_no_url_is_refused(web: PageServer) -> None:
    web.pages["/robots.txt"] = redirect("http://[::1/")

    refused(web.url(), "It redirects to what is no URL.")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "0", "0.0.0.0",
        "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
        "[fe80::1]", "[fc00::1]", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1",
        "255.255.255.255", "[ff02::1]", "\uff11\uff12\uff17.0.0.1", "127.0.0.1.", "[fec0::1]", "[64:ff9b:1::7f00:1]",
        "[::ffff:0:127.0.0.1]", "[3fff::1]", "[5f00::1]", "[4000::1]", "[fd00:ec2::254]", "168.63.129.16", "192.0.0.192",
    ],
)  # fmt: skip
def test_a_private_address_is_refused_however_it_is_written(host: str) -> None:
    error = refused(f"http://{host}:9/", "", by=fetcher(allow_private=False))

    assert "is in a private network" in error.message or "was not found" in error.message
    assert host.endswith(".") or "private_addresses true" in (error.hint or "")


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"])
def test_a_public_address_is_one_however_it_is_written(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1.", "a.localhost", "printer.local", "x.internal.", "nas", "x.home.arpa"])
def test_a_proxy_is_not_asked_for_names_that_are_none_of_the_internet(host: str, web: PageServer) -> None:
    with ForwardProxy(web.port) as proxy, pytest.MonkeyPatch.context() as patch:
        patch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        refused(f"http://{host}/", "", by=fetcher(allow_private=False))
        assert proxy.heads == []


def test_a_public_page_that_redirects_to_a_private_address_is_refused() -> None:
    """The server stands for a public one: a proxy leads there."""
    with PageServer() as web, ForwardProxy(web.port) as proxy, pytest.MonkeyPatch.context() as patch:
        patch.setenv("http_proxy", f"http://user:word@127.0.0.1:{proxy.port}")
        web.pages["/"] = redirect("http://169.254.169.254/latest/meta-data/")
        refused("http://8.8.8.8/", "169.254.169.254 is in a private network", by=fetcher(allow_private=False))
        assert web.paths == ["/"]


def test_a_proxy_is_asked_for_the_whole_url_and_finds_names_itself() -> None:
    with (
        PageServer({"/a?b": page("through it")}) as web,
        ForwardProxy(web.port) as proxy,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("http_proxy", f"http://user:word@127.0.0.1:{proxy.port}")
        result = fetcher(allow_private=False).fetch("http://no-such-host.invalid/a?b")

    assert isinstance(result, FetchedPage)
    assert result.content == b"through it"
    assert proxy.heads[-1].startswith("GET http://no-such-host.invalid/a?b HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic dXNlcjp3b3Jk\r\n" in proxy.heads[-1]
    assert "Host: no-such-host.invalid\r\n" in proxy.heads[-1]


def test_a_page_comes_over_tls_and_through_a_tunnel(web: PageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    web.pages["/"] = page("secretly")

    def serve(connection: socket.socket) -> None:
        with tls_context().wrap_socket(connection, server_side=True) as secure:
            web.answer(secure)

    with RawServer(serve) as secured, ForwardProxy(secured.port) as proxy:
        assert fetched(f"https://localhost:{secured.port}/").content == b"secretly"
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        assert fetched("https://provider.test/").content == b"secretly"
    assert proxy.heads[-1].startswith("CONNECT provider.test:443 ")
    assert web.heads[-1].startswith("GET / HTTP/1.1\r\nHost: provider.test\r\n")


def test_a_name_with_several_addresses_is_tried_at_each(web: PageServer) -> None:
    """Where localhost is ::1 first, nothing listens there."""
    web.pages["/"] = page("found")

    assert fetched(f"http://localhost:{web.port}/").content == b"found"


def test_what_is_no_url_is_refused_without_asking_anybody() -> None:
    for url in ("http://", "http:///x", "https://a b/", "nothing", "", "http://[::1", "http://x:0/", "http://x:y/"):
        refused(url, "")
    for url in ("http://a\0b/", "http://a/\udcff", "http://a\\b/", "http://me:word@x:99999/"):
        refused(url, "That is no URL that can be fetched.")
    refused("http://user@127.0.0.1/", "A URL with a user name or a password is not fetched, nor kept.")
    refused("http://no-such-host.invalid/", "The host no-such-host.invalid was not found.")
    refused("http://127.0.0.1:1/", "connection refused")


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
)
def test_what_trickles_in_is_given_up_after_the_time_limit(web: PageServer, head: bytes, drop: bytes) -> None:
    web.pages["/"] = dripping(head, drop, 3)

    began = time.monotonic()
    error = refused(web.url(), "", timeout_s=0.3)
    assert time.monotonic() - began < 1.5
    assert error.message in {"It took longer than 0.3 s.", "The connection broke before the whole page was there."}
    assert head == b"" or error.message == "It took longer than 0.3 s."


def test_a_server_that_says_nothing_is_given_up_after_the_time_limit(web: PageServer) -> None:
    web.pages["/"] = lambda *_: time.sleep(0.5)

    refused(web.url(), "It took longer than 0.3 s.", timeout_s=0.3)


def test_a_handshake_that_trickles_in_is_given_up_after_the_time_limit() -> None:
    drip = dripping(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc", b"\x03", 2)
    assert callable(drip)
    with RawServer(lambda connection: drip(connection, "")) as server:
        began = time.monotonic()
        error = refused(f"https://127.0.0.1:{server.port}/", "", timeout_s=0.3)
        assert time.monotonic() - began < 1.5
    assert "took longer than 0.3 s." in error.message or "no connection within" in error.message


def test_the_time_limit_is_for_all_of_it(web: PageServer) -> None:
    def slowly(location: str) -> Script:
        def answer(connection: socket.socket, _: str) -> None:
            time.sleep(0.2)
            connection.sendall(redirect(location))

        return answer

    web.pages |= {"/1": slowly("/2"), "/2": slowly("/3"), "/3": slowly("/4"), "/4": page("too late")}
    began = time.monotonic()
    refused(web.url("/1"), "It took longer than 0.5 s.", timeout_s=0.5)
    assert time.monotonic() - began < 1.5

    web.pages["/robots.txt"] = dripping(b"HTTP/1.1 200 OK\r\n\r\n", b"x", 2)
    refused(web.url("/4"), "The robots.txt of its server took longer than 0.3 s.", timeout_s=0.3)


class Endless:
    """A page that goes on for as long as somebody listens."""

    def __init__(self) -> None:
        self.is_asked = threading.Event()
        self.is_gone = threading.Event()

    def __call__(self, connection: socket.socket, _: str) -> None:
        self.is_asked.set()
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(OSError):
            while not self.is_gone.wait(0.02):
                connection.sendall(b"x")
        self.is_gone.set()


def test_a_fetch_ends_at_once_where_another_thread_asks_for_it(web: PageServer) -> None:
    endless = Endless()
    web.pages |= {"/slow": endless, "/": page("next")}
    asked = fetcher()
    timer = threading.Timer(0.3, asked.interrupt)
    timer.start()

    refused(web.url("/slow"), "The fetching was stopped.", by=asked, timeout_s=20)
    assert endless.is_gone.wait(5)
    timer.join()
    result = asked.fetch(web.url())
    assert isinstance(result, FetchedPage)
    assert result.content == b"next"


def test_control_c_ends_an_ingest_that_waits_for_a_page(cli: Cli, web: PageServer) -> None:
    endless = web.pages["/"] = Endless()
    cli.environ["AICHAT_DOCUMENTS_PRIVATE_ADDRESSES"] = "true"
    with cli.start("ingest", web.url()) as process:
        assert endless.is_asked.wait(20)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
    assert process.returncode == 130
    assert endless.is_gone.wait(5)


def test_a_page_over_the_limit_is_refused_and_one_at_the_limit_taken(web: PageServer) -> None:
    web.pages |= {"/at": page(b"x" * MB), "/over": page(b"x" * (MB + 1)), "/zip": gzipped(b"x" * (MB + 1))}

    assert len(fetched(web.url("/at")).content) == MB
    for path in ("/over", "/zip"):
        error = refused(web.url(path), "It is larger than 1 MB.")
        assert error.hint == "To take it: raise documents.max_mb with aichat config set"


def test_a_small_page_that_grows_without_end_fills_no_memory(web: PageServer) -> None:
    bomb = gzip.compress(bytes(40 * MB))
    many = gzip.compress(b"") * 10_000 + gzip.compress(b"x" * 2 * MB)
    web.pages |= {"/bomb": page(bomb, "Content-Encoding: gzip"), "/many": page(many, "Content-Encoding: gzip")}

    tracemalloc.start()
    try:
        for path in ("/bomb", "/many"):
            refused(web.url(path), "It is larger than 1 MB.")
        assert tracemalloc.get_traced_memory()[1] < 12 * MB
    finally:
        tracemalloc.stop()


def test_gzip_in_one_piece_and_in_several_is_read_whole(web: PageServer) -> None:
    web.pages |= {
        "/one": gzipped(b"one" * 1000),
        "/two": page(gzip.compress(b"one ") + gzip.compress(b"two"), "Content-Encoding: gzip"),
        "/cut": page(gzip.compress(b"one")[:-3], "Content-Encoding: gzip"),
        "/no": page(b"not gzip", "Content-Encoding: gzip"),
        "/br": page(b"?", "Content-Encoding: br"),
    }

    assert fetched(web.url("/one")).content == b"one" * 1000
    assert fetched(web.url("/two")).content == b"one two"
    refused(web.url("/cut"), "The connection broke before the whole page was there.")
    refused(web.url("/no"), "What came is damaged.")
    refused(web.url("/br"), "It came in an encoding that was not asked for: br.")


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwhol\r\n1\r\ne\r\n0\r\n\r\n"


@pytest.mark.parametrize("response", [page("whole", "Content-Type: text/plain"), CHUNKED, redirect("/whole")])
def test_a_connection_that_is_cut_at_any_byte_never_looks_like_a_page(web: PageServer, response: bytes) -> None:
    asked = fetcher()
    web.pages["/whole"] = page("whole")
    for length in range(len(response)):
        web.pages["/"] = response[:length]
        if not response.startswith(b"HTTP/1.1 302") or length < len(response):
            refused(web.url(), "The connection broke before the whole page was there.", by=asked)
    web.pages["/"] = response
    result = asked.fetch(web.url())
    assert isinstance(result, FetchedPage)
    assert result.content == b"whole"


def test_a_length_that_is_wrong_is_not_believed(web: PageServer) -> None:
    web.pages |= {
        "/short": page("abc", length=10),
        "/long": page("abcdef", length=3),
        "/negative": page("abc", length=-5),
        "/huge": page("abc", length=10**15),
        "/none": b"HTTP/1.1 200 OK\r\n\r\nabc",
    }

    for path in ("/short", "/huge"):
        refused(web.url(path), "The connection broke before the whole page was there.")
    for path in ("/long", "/negative", "/none"):
        assert fetched(web.url(path)).content == b"abc"


def test_what_is_no_http_is_refused(web: PageServer) -> None:
    for answer in (
        b"SSH-2.0-OpenSSH\r\n",
        b"\0" * 100,
        b"HTTP/1.1 999999999999 X\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" * 200,
    ):
        web.pages["/"] = answer
        refused(web.url(), "The connection broke before the whole page was there.")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("401 Unauthorized", "it asks for a login (status 401)"),
        ("403 Forbidden", "the server refuses it (status 403)"),
        ("404 Not Found", "there is no such page (status 404)"),
        ("410 Gone", "the page is gone (status 410)"),
        ("429 Too Many Requests", "the server wants fewer requests (status 429)"),
        ("503 Unavailable", "the server failed (status 503)"),
        ("204 No Content", "no page came (status 204)"),
        ("304 Not Modified", "no page came (status 304)"),
        ("302 Found", "no page came (status 302)"),
    ],
)
def test_a_status_is_said_in_words(web: PageServer, status: str, said: str) -> None:
    web.pages["/"] = page("", status=status)

    refused(web.url(), said)


def test_a_page_is_asked_for_only_where_it_changed(web: PageServer) -> None:
    modified = "Wed, 25 Nov 2026 06:00:00 GMT"
    web.pages |= {
        "/tag": unless_known(page("a", 'ETag: W/"1"', f"Last-Modified: {modified}"), 'If-None-Match: W/"1"\r\n'),
        "/time": unless_known(page("a", f"Last-Modified: {modified}"), f"If-Modified-Since: {modified}\r\n"),
        "/odd": page("a", 'ETag: "a\x01b"'),
        "/": redirect("/tag"),
    }

    for path in ("/tag", "/time", "/"):
        first = fetched(web.url(path))
        assert first.content == b"a"
        assert fetcher().fetch(web.url(path), first.etag) == NotModified()
    assert fetched(web.url("/odd")).etag is None
    assert fetched(web.url("/tag"), etag='If-None-Match: "other"').content == b"a"


ROBOTS = "User-agent: *\nDisallow: /private"


@pytest.mark.parametrize(
    ("robots", "may"),
    [
        (page(ROBOTS), False),
        (page("\ufeff" + ROBOTS), False),
        (gzipped(ROBOTS.encode()), False),
        (page("User-agent: aichat\nDisallow: /\n\n" + ROBOTS), False),
        (page("User-agent: aichat\nDisallow: /other\n\nUser-agent: *\nDisallow: /"), True),
        (page("", status="404 Not Found"), True),
        (page("", status="403 Forbidden"), True),
        (redirect("/robots-there.txt"), False),
        (redirect("/robots.txt"), True),
        (page((ROBOTS + "\n" + "#" * 600_000).encode()), False),
    ],
)
def test_robots_are_respected(web: PageServer, robots: bytes, may: bool) -> None:
    web.pages |= {"/robots.txt": robots, "/robots-there.txt": page(ROBOTS), "/private": page("p"), "/": page("home")}
    asked = fetcher()
    if may:
        assert isinstance(asked.fetch(web.url("/private")), FetchedPage)
    else:
        refused(web.url("/private"), "The robots.txt of its server does not allow it to be fetched.", by=asked)
        assert "/private" not in web.paths


def test_robots_are_read_once_and_asked_for_every_hop(web: PageServer) -> None:
    web.pages |= {"/robots.txt": page(ROBOTS), "/": redirect("/private"), "/a": page("a")}
    asked = fetcher()
    refused(web.url(), "robots.txt", by=asked)
    asked.fetch(web.url("/a"))

    assert sum("/robots.txt" in head for head in web.heads) == 1


def test_a_server_that_fails_to_say_what_it_allows_is_not_asked_further(web: PageServer) -> None:
    web.pages |= {"/robots.txt": page("", status="500 Oh"), "/": page("home")}

    refused(web.url(), "The robots.txt of its server cannot be read (status 500).")
    assert web.paths == []


def test_a_page_is_ingested_where_its_network_is_allowed_and_only_once(cli: Cli, web: PageServer) -> None:
    html = "<html><title>Bees</title><body><h1>Bees</h1><p>A hive makes honey in the summer.</p></body></html>"
    web.pages["/bees"] = unless_known(page(html, "Content-Type: text/html", 'ETag: "1"'), 'If-None-Match: "1"')
    done = cli.run("ingest", web.url("/bees"))
    assert done.returncode == 1
    assert "127.0.0.1 is in a private network. To allow it: aichat config set documents.private_addresses true" in (
        done.stderr + done.stdout
    ).decode().replace("\n", " ")
    assert web.connections == 0

    cli.environ["AICHAT_DOCUMENTS_PRIVATE_ADDRESSES"] = "true"
    assert cli.json("ingest", web.url("/bees"))["added"] == 1
    again = cli.json("ingest", web.url("/bees"))
    assert (again["unchanged"], again["added"], again["updated"]) == (1, 0, 0)
    assert 'If-None-Match: "1"\r\n' in web.heads[-1]
    assert cli.rows("SELECT name, title FROM documents") == [(web.url("/bees"), "Bees")]
