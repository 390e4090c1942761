"""Bytes of a page become the characters that their author wrote, whatever the page says of itself."""

import pytest

from ingest.pages.charset import decode
from lake.decision import Drop, Reason

DOSE = "Take 250 µg – 500 µg, ±2, ½ at 20 °C; Café"
RUSSIAN = "Привет мир, как дела сегодня вечером"
CHINESE = "你好世界今天天气很好我们"


@pytest.mark.parametrize(
    ("html", "header", "text"),
    [
        # Windows-1252 that is called something else.
        (b"<meta charset=utf-8>" + DOSE.encode("cp1252"), None, DOSE),
        (DOSE.encode("cp1252"), "utf-8", DOSE),
        (DOSE.encode("cp1252"), "utf8", DOSE),
        (b"<meta charset=utf-7>" + DOSE.encode("cp1252"), None, DOSE),
        (DOSE.encode("cp1252"), "x-unknown", DOSE),
        # UTF-8 with some bytes of Windows-1252.
        (DOSE.encode() + " 5 µg – 6".encode("cp1252"), None, DOSE + " 5 µg – 6"),
        (DOSE.encode() + " 5 µg – 6".encode("cp1252"), "iso-8859-1", DOSE + " 5 µg – 6"),
        (b"\xef\xbb\xbf" + DOSE.encode() + " 5 µg".encode("cp1252"), None, DOSE + " 5 µg"),
        (DOSE.encode() + b" 10\x8120", "utf-8", DOSE + " 10\ufffd20"),
        (DOSE.encode() + b" 10\xe2\x8020", "utf-8", DOSE + " 10\ufffd20"),
        (DOSE.encode() + b" 10\xed\xa0\x8020", "utf-8", DOSE + " 10\ufffd20"),
        # The header, the XML declaration, <meta>, in this order.
        (b'<?xml version="1.0" encoding="iso-8859-1"?>' + DOSE.encode("cp1252"), None, DOSE),
        (b"<?xml version='1.0' encoding='koi8-r'?>" + RUSSIAN.encode("koi8-r"), None, RUSSIAN),
        (b'<?xml version="1.0" encoding="iso-8859-2"?>' + "Dvořák".encode("iso-8859-2"), None, "Dvořák"),
        (b'<?xml version="1.0" encoding="macintosh"?>' + "5 µg".encode("mac-roman"), "iso-8859-5", "5 Еg"),
        (
            b'<meta http-equiv="Content-Type" content="text/html; charset=koi8-r">' + RUSSIAN.encode("koi8-r"),
            None,
            RUSSIAN,
        ),
        (b"<meta charset=gbk>" + "联通".encode("gbk"), None, "联通"),
        (b"<meta charset=gbk>" + CHINESE.encode("gbk"), None, CHINESE),
        # UTF-16 without a byte order mark.
        (f"<p>{DOSE}".encode("utf-16-le"), None, DOSE),
        (f"<p>{DOSE}".encode("utf-16-be"), "utf-16be", DOSE),
        (f"<p>{RUSSIAN}".encode("utf-16-le"), "utf-16", RUSSIAN),
        # A guess, for other scripts.
        (RUSSIAN.encode("cp1251"), None, RUSSIAN),
        (CHINESE.encode("gb18030"), "utf-8", CHINESE),
    ],
)
def test_every_character_is_the_authors(html: bytes, header: str | None, text: str) -> None:
    decoded = decode(html, header)
    assert isinstance(decoded, str)
    assert decoded.endswith(text)


def test_a_page_of_which_nobody_can_decode_much_is_dropped() -> None:
    drop = decode(b"<meta charset=utf-8>10\x81\x8d\x8f\x90\x9d20")
    assert isinstance(drop, Drop)
    assert drop.reason is Reason.UNDECODABLE
