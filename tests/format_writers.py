"""Files in other formats than text, written by other programs' libraries or by hand."""

from __future__ import annotations

import io
import zipfile
from html import escape

NOTE = "Editors like footnotes, and nobody reads what an editor writes in them."
"""Stands in headers, notes and comments of the files: it must not become text."""


def docx(paragraphs):
    from docx import Document

    document = Document()
    section = document.sections[0]
    section.header.paragraphs[0].text = section.footer.paragraphs[0].text = NOTE
    document.core_properties.title = NOTE
    for paragraph in paragraphs:
        middle = len(paragraph) // 2
        added = document.add_paragraph(paragraph[:middle])
        added.add_run(paragraph[middle:]).bold = True
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def pdf(paragraphs):
    from fpdf import FPDF

    class Book(FPDF):
        def header(self):
            self.cell(0, 10, "A BOOK OF LETTERS", align="C", new_x="LMARGIN", new_y="NEXT")

        def footer(self):
            self.set_y(-15)
            self.cell(0, 10, str(self.page_no()), align="C")

    book = Book()
    book.set_font("Times", size=11)
    book.add_page()
    for paragraph in paragraphs:
        book.multi_cell(0, 5, paragraph, new_x="LMARGIN", new_y="NEXT")
        book.ln(2)
    return bytes(book.output())


def tei(paragraphs):
    body = "".join(f"<p>{escape(paragraph)}<note>{NOTE}</note></p><pb n='4'/>\n" for paragraph in paragraphs)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<TEI xmlns="http://www.tei-c.org/ns/1.0"><teiHeader><fileDesc><titleStmt>'
        f"<title>{NOTE}</title></titleStmt></fileDesc></teiHeader><text><front><p>{NOTE}</p></front><body><div>{body}"
        f"</div></body><back><p>{NOTE}</p></back></text></TEI>"
    ).encode()


def html(paragraphs):
    body = "".join(f"<p class='x'>{escape(paragraph)}</p>\n" for paragraph in paragraphs)
    return (
        f"<!DOCTYPE html><html><head><title>{NOTE}</title><style>p {{ x: y }}</style><meta charset=utf-8></head><body>"
        f"<nav>{NOTE}</nav><script>var note = '{NOTE}';</script><main>{body}</main><footer>{NOTE}</footer>"
        "</body></html>"
    ).encode()


def odt(paragraphs):
    body = "".join(
        f"<text:p>{escape(p)}<text:note><text:note-body><text:p>{NOTE}</text:p></text:note-body></text:note></text:p>"
        for p in paragraphs
    )
    names = 'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    names += 'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"'
    content = f"<office:document-content {names}><office:body><office:text>{body}</office:text></office:body>"
    return archive(
        {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "content.xml": f"<?xml version='1.0'?>{content}</office:document-content>",
            "meta.xml": f"<x>{NOTE}</x>",
        }
    )


def epub(paragraphs):
    middle = len(paragraphs) // 2
    items = "".join(f'<item id="c{n}" href="c%20{n}.xhtml" media-type="application/xhtml+xml"/>' for n in (0, 1))
    items += '<item id="nav" href="nav.xhtml" properties="nav"/>'
    spine = '<itemref idref="nav"/><itemref idref="c0"/><itemref idref="c1"/>'
    package = (
        f"<package xmlns='http://www.idpf.org/2007/opf'><manifest>{items}</manifest><spine>{spine}</spine></package>"
    )
    container = '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    container += '<rootfile full-path="OEBPS/a.opf"/></rootfiles></container>'
    return archive(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": container,
            "OEBPS/a.opf": package,
            "OEBPS/nav.xhtml": html([NOTE]),
            "OEBPS/c 0.xhtml": html(paragraphs[:middle]),
            "OEBPS/c 1.xhtml": html(paragraphs[middle:]),
        }
    )


def rtf(paragraphs):
    def character(letter):
        code = ord(letter)
        return letter if code < 128 else f"\\'{code:02x}" if 0xA0 <= code < 256 else f"\\u{code}?"

    body = "".join("{\\b " + "".join(map(character, paragraph)) + "}\\par\n" for paragraph in paragraphs)
    start = "{\\rtf1\\ansi\\ansicpg1252{\\fonttbl{\\f0\\fswiss Helvetica;}}{\\info{\\title " + NOTE + "}}"
    return (start + "{\\header " + NOTE + "}\\deleted " + NOTE + "\\deleted0 " + body + "}").encode("ascii")


def mail(paragraphs):
    import email.message

    message = email.message.EmailMessage()
    message["From"], message["To"], message["Subject"] = "ada@example.org", "ben@example.org", NOTE
    message["Message-ID"] = "<1@example.org>"
    quoted = f"On Monday, 3 May 2021, Ben <ben@example.org> wrote:\n> {NOTE}\n> {NOTE}\n"
    message.set_content("\n\n".join(paragraphs) + f"\n\n{quoted}\n-- \n{NOTE}\n")
    message.add_alternative(f"<html><body><p>{NOTE}</p></body></html>", subtype="html")
    return bytes(message)


def archive(parts):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in parts.items():
            file.writestr(name, content, zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


WRITERS = {
    **{"docx": docx, "pdf": pdf, "tei": tei, "html": html, "odt": odt, "epub": epub, "rtf": rtf, "mail": mail},
    "text": lambda paragraphs: "\n\n".join(paragraphs).encode(),
}
"""By the name of the reader: a function from paragraphs to the bytes of a file."""

SUFFIXES = {"tei": ".xml", "text": ".txt", "mail": ".eml"}


def suffix(reader):
    return SUFFIXES.get(reader, f".{reader}")
