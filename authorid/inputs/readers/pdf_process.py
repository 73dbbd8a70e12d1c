"""The process that reads one PDF: bytes on standard input, text on standard output, a form feed after each page.

Run as a program, with the limits as arguments; it imports nothing of this package. PDFium is written in C++ and reads
what strangers have made: in a process of its own, whatever it does costs one document at most.
"""

from __future__ import annotations

import sys
from contextlib import suppress


def main(most_characters: int, most_pages: int, seconds: int, memory: int) -> None:
    """Write the text. Ends with a message when something is beyond a limit or cannot be read."""
    with suppress(ImportError, ValueError, OSError):  # no such limits on some systems
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import pypdfium2

    data = sys.stdin.buffer.read()
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        raise SystemExit(f"damaged or encrypted PDF ({error})") from None
    if len(document) > most_pages:
        raise SystemExit(f"a PDF of more than {most_pages} pages")
    left = most_characters
    for number in range(len(document)):
        try:
            text = document[number].get_textpage().get_text_range()
        except pypdfium2.PdfiumError:
            text = ""  # one page that is damaged
        left -= len(text)
        if left < 0:
            raise SystemExit(f"more than {most_characters} characters of text (see --max-bytes)")
        sys.stdout.buffer.write(text.replace("\f", " ").encode("utf-8", "replace") + b"\f")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
