"""What transformers and optimum answer, run by the Python of an environment that has them (see `test_other_tools`).

``python other_tools.py SOURCE BUNDLE``: texts as a JSON list on standard input; lists of {label: score} by tool on
standard output.
"""

from __future__ import annotations

import json
import sys
import warnings


def main() -> None:
    warnings.simplefilter("ignore")
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    source, bundle = sys.argv[1:]
    texts = json.load(sys.stdin)

    def answers(model: object, tokenizer: object, batch: int) -> list[dict[str, float]]:
        classify = pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None)
        found = classify(texts, truncation=True, batch_size=batch)
        return [{item["label"]: float(item["score"]) for item in row} for row in found]

    tokenizer = AutoTokenizer.from_pretrained(source)
    model = AutoModelForSequenceClassification.from_pretrained(source).float().eval()
    result = {"transformers": answers(model, tokenizer, 1)}
    try:
        from optimum.onnxruntime import ORTModelForSequenceClassification
    except ImportError:
        pass
    else:
        tokenizer = AutoTokenizer.from_pretrained(bundle)
        exported = ORTModelForSequenceClassification.from_pretrained(bundle)
        result |= {"alone": answers(exported, tokenizer, 1), "padded": answers(exported, tokenizer, 4)}
    print(json.dumps(result))  # noqa: T201


if __name__ == "__main__":
    main()
