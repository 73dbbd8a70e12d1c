"""Texts that are no English prose: other languages, source code, tables and encoded data, made from word lists."""

# ruff: noqa: RUF001 (letters of other alphabets)

from __future__ import annotations

import base64
import random
from collections.abc import Iterator

LANGUAGES = {
    "de": "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden aus er "
    "hat dass sie nach wird bei einer um am sind noch wie einem über Regierung Unternehmen "
    "gestern Jahr Menschen zwischen",
    "fr": "de la le et les des en un du une que est pour qui dans a par plus pas au sur ne se ce il sont avec son aux "
    "cette ou été mais nous ont entreprise gouvernement année hier entre leurs après deux même aussi fait",
    "es": "de la que el en y a los se del las un por con no una su para es al lo como más o pero sus le ha me si sin "
    "sobre este ya entre cuando todo esta ser son dos también fue había era empresa gobierno ayer años desde",
    "it": "di e il la che in a per un è del non sono le con si una da i della al come dei nel più anche alla ha lo gli "
    "ma se questo delle suo o dal stato ieri governo azienda anni tra dopo prima hanno essere quando",
    "pt": "de a o que e do da em um para com não uma os no se na por mais as dos como mas ao ele das à seu sua ou "
    "quando muito nos já eu também só pelo pela até isso ontem governo empresa anos entre depois foram",
    "nl": "de van het een en in is dat op te zijn met voor niet aan er om ook als bij door maar uit nog naar heeft dan "
    "wordt over tot hij deze worden kan werd gisteren regering bedrijf jaar tussen zou geen haar onder",
    "sv": "och att i det som en på är av för med till den har de inte om ett han men var jag sig från vi så kan när år "
    "under också efter eller nu sin där vid mot ska skulle regeringen företaget igår mellan människor",
    "fi": "ja on ei että se hän oli mutta ovat kun niin myös joka olla sen mukaan vuonna kuin jos nyt vain tai hänen "
    "kanssa siitä ole vielä mitä sitten jälkeen hallitus yhtiö eilen vuosi ihmiset välillä kuitenkin",
    "pl": "i w na z do się nie że jest o jak to za od po przez co był dla tym są ich lub jego już tylko ale oraz może "
    "jednak przed które tak został wczoraj rząd firma rok ludzie między także bardzo gdy",
    "hu": "a az és hogy nem is egy van meg csak ez de volt már ha még el mint azt minden kell vagy lesz után között "
    "tegnap kormány vállalat év emberek pedig amely szerint lehet ezt most nagyon ilyen aki",
    "tr": "bir ve bu da de için ile çok daha olan gibi kadar sonra olarak ne var ama en değil her diye o mi ya ki ise "
    "şey zaman bunu dün hükümet şirket yıl insanlar arasında önce göre yeni büyük oldu",
    "ru": "и в не на что я с он а как это по но они мы этот за то все её так его от же из у когда уже для вот вчера "
    "правительство компания год люди между после только было быть может также",
    "el": "και το να του η της με που την από για είναι στο ότι τα ο οι τον σε δεν θα τη ένα μια αλλά τους χθες "
    "κυβέρνηση εταιρεία χρόνια άνθρωποι μεταξύ μετά μόνο ήταν όταν πολύ",
    "ar": "في من على أن إلى التي عن لا ما هذا هو كان مع هذه قد كل بعد ذلك بين لم أو كما أي وقد أمس الحكومة الشركة "
    "السنة الناس قبل فقط أيضا حيث عندما جدا",
    "he": "של את על לא הוא זה עם כי גם אל היא אני יש כל מה אבל או אם רק היה אתמול הממשלה החברה שנה אנשים בין אחרי "
    "לפני כאשר מאוד יותר",
    "zh": "的 是 在 了 和 有 我 他 这 中 大 来 上 国 个 到 说 们 为 子 昨天 政府 公司 年 人们 之间 以后 但是 也 就 都",
    "ja": "の に は を た が で て と し れ さ ある いる も する から な こと として 昨日 政府 会社 年 "
    "人々 間 後 しかし です ます",
    "ko": "이 그 저 것 수 등 들 및 에서 그리고 있다 하는 한 을 를 의 가 어제 정부 회사 년 "
    "사람들 사이 후 그러나 매우 또한",
}
"""Some common words of each language."""

NAMES = (
    "index",
    "buffer",
    "value",
    "node",
    "left",
    "total",
    "key",
    "items",
    "result",
    "offset",
    "count",
    "parse",
    "tmp",
)


def foreign_text(language: str, seed: int, characters: int = 1500) -> str:
    """Sentences of the common words of `language`."""
    generator, words = random.Random(f"{language} {seed}"), LANGUAGES[language].split()
    space, stop = ("", "。") if language in ("zh", "ja") else (" ", ". ")
    text = ""
    while len(text) < characters:
        sentence = space.join(generator.choices(words, k=generator.randint(6, 16)))
        text += sentence[:1].upper() + sentence[1:] + stop
    return text


def source_code(seed: int, lines: int = 60) -> str:
    """Lines in the manner of Python, C or a query language, without comments."""
    generator = random.Random(seed)

    def name() -> str:
        return "_".join(generator.choices(NAMES, k=generator.randint(1, 2)))

    def line() -> str:
        a, b, c, n = name(), name(), name(), generator.randrange(100)
        forms = (
            (
                f"    if {a}[{b}] != {n}:",
                f"        self.{a} = {b}({c}, {n})",
                f"def {a}({b}, {c}={n}):",
                f"    return {a} + {b}",
            ),
            (
                f"  for (int i = 0; i < {a}; i++) {{",
                f"    {a}->{b} = &{c}[{n}];",
                "  }",
                f"static int {a}(char *{b}, int {c})",
            ),
            (
                f"SELECT {a}, {b} FROM {c}",
                f"WHERE {a} >= {n} AND {b} IS NOT NULL",
                f"GROUP BY {a};",
                f"DROP TABLE {b};",
            ),
        )
        return generator.choice(forms[seed % 3])

    return "\n".join(line() for _ in range(lines)) + "\n"


def encoded_data(seed: int) -> str:
    """Random bytes in base64 with line breaks."""
    return base64.encodebytes(random.Random(seed).randbytes(1200)).decode("ascii")


def number_table(seed: int) -> str:
    """Rows of random integers."""
    generator = random.Random(seed)
    rows = (",".join(str(generator.randrange(10**6)) for _ in range(6)) for _ in range(40))
    return "\n".join(rows) + "\n"


def no_prose(each: int) -> Iterator[tuple[str, str]]:
    """Pairs (kind, text): `each` texts in every language, and of code, encoded data and tables."""
    for seed in range(each):
        yield from ((language, foreign_text(language, seed)) for language in LANGUAGES)
        yield from (("code", source_code(seed)), ("base64", encoded_data(seed)), ("table", number_table(seed)))
