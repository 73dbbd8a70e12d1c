"""The classifiers that transformers and optimum load.

A model in Hugging Face layout has transformers' own classification head. One of `authorid.training` has not: that of
BertForSequenceClassification has a hidden layer before the last one, which our recipe does without, and no mean over
tokens. So that every peer computes the very same function, the encoder is transformers' and the head is this.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["load_classifier"]


def load_classifier(path: Path) -> Any:
    """A float32 torch model in evaluation mode that transformers' pipelines and optimum's exporter take."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = AutoConfig.from_pretrained(path)
    if hasattr(config, "authorid_head"):
        return _load_own(path, config)
    return AutoModelForSequenceClassification.from_pretrained(path, dtype=torch.float32).eval()


def _load_own(path: Path, config: Any) -> Any:
    import torch
    from transformers import BertModel, BertPreTrainedModel, DistilBertModel, DistilBertPreTrainedModel
    from transformers.modeling_outputs import SequenceClassifierOutput

    head = config.authorid_head
    base: Any = BertPreTrainedModel if config.model_type == "bert" else DistilBertPreTrainedModel
    width = config.hidden_size

    class Classifier(base):  # type: ignore[misc]
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            if config.model_type == "bert":
                self.bert = BertModel(config, add_pooling_layer=False)
            else:
                self.distilbert = DistilBertModel(config)
            if head["hidden_activation"]:
                self.head_hidden = torch.nn.Linear(width, width)
            self.classifier = torch.nn.Linear(width, len(config.id2label))
            self.post_init()

        def finish(self, states: Any, attention_mask: Any) -> Any:
            if head["pooling"] == "mean":
                weights = attention_mask.unsqueeze(-1).to(states.dtype)
                vector = (states * weights).sum(1) / weights.sum(1)
            else:
                vector = states[:, 0]
            if head["hidden_activation"]:
                vector = getattr(torch, head["hidden_activation"])(self.head_hidden(vector))
            return SequenceClassifierOutput(logits=self.classifier(vector))

    class Bert(Classifier):
        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None, **kwargs: Any) -> Any:
            states = self.bert(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)[0]
            return self.finish(states, attention_mask)

    class DistilBert(Classifier):
        def forward(self, input_ids: Any, attention_mask: Any, **kwargs: Any) -> Any:
            return self.finish(self.distilbert(input_ids, attention_mask=attention_mask)[0], attention_mask)

    kind: Any = Bert if config.model_type == "bert" else DistilBert
    # The pipeline complains about classes whose name it does not know; optimum's exporter asks where they come from.
    kind.__name__ = "BertForSequenceClassification" if kind is Bert else "DistilBertForSequenceClassification"
    kind.__module__ = "transformers"
    return kind.from_pretrained(path).eval()
