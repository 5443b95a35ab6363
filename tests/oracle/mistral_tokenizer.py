"""Golden file of Mistral 7B's real SentencePiece model: tests/golden/tokenizer/mistral.

usage: mistral_tokenizer.py TOKENIZER.MODEL.V1    (from the root of the repository)
The model is mistral_common/data/tokenizer.model.v1 of PyPI's mistral-common 1.13.1 (pip download --no-deps, unzip).
Versions: sentencepiece 0.2.3, tokenizers 0.23.3 (Python 3.11).

Turns the model into a tokenizer.json the way transformers does (merges of all pairs whose joined text is a piece, in
the order of the pieces' scores), checks it against sentencepiece, and writes it with ids and spans of difficult texts.
The whole file would be 2 MB; written are the pieces that occur in the texts, under their own ids, and the merges among
them. Nothing else can take part in encoding these texts: every symbol that merging makes is a piece of the text. That
the reduced tokenizer gives the same ids is checked here.
"""
import json
import pathlib
import random
import sys

import sentencepiece
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

sys.path.insert(0, str(pathlib.Path(__file__).parent))
OUT = pathlib.Path(__file__).parent.parent / "golden" / "tokenizer" / "mistral"
SPECIAL = ["<unk>", "<s>", "</s>"]

TEXTS = [
    "", " ", "\n", "\t \t", "hello world", " hello", "hello  world   again    ", "The quick brown fox's tail",
    "I'll can't WE'RE they've it's 'Tis", "2024-11-21 costs $1,234.56!!", "12 123 1234 12345 ٣٤٥ ½ ² Ⅷ",
    "   leading and   multiple  spaces\n\n\ttabs\r\n", "a\u00a0b\u200bc\u2003d\u180ee\u0085f",
    "naïve café Ünïcödé — “quotes” … 中文字符 日本語 한국어", "e\u0301a\u0308 \u1112\u1161\u11ab q\u0323\u0307 ﬁ ①",
    "emoji 😀👩‍👩‍👧 flags 🇩🇪 ❤️", "മലയാളം кириллица Ελληνικά עברית العربية", "def f(x):\n    return x**2  # comment\n",
    "▁ ▁▁ a▁b ▁c", "<0x41> <0x0A>", "x" * 70 + "1" * 40, " " * 40 + "z", "the" * 30,
    "SELECT COUNT(*) FROM head WHERE age > 56", "http://a.b/c?d=e&f=g#h", "😀" * 5, "\u0000\u0001\u007f\u00ad\ufeff",
    "internationalization antidisestablishmentarianism", "#include <stdio.h>\nint main() {\n\treturn 0;\n}",
    "Mixed 中文 and English，标点。 Ünd Deutsch: Straße, größer", "tab\tseparated\tvalues", "....,,,,;;;;----____====",
]
WITH_SPECIAL = ["<s>[INST] Hi [/INST] Hello</s>", "<s> x</s>\n<s>y", "a<unk>b <s", "<|user|>\nHi</s>\n<|assistant|>\nYes.</s>\n"]


def noise():
    rng = random.Random(11)
    words = "the of and SELECT from where ing tion 's , . ( ) \n \t   é ß 中 語 한 😀 ▁ x yz 12 7 ... -- == {} # // \u0301".split(" ")
    return ["".join(rng.choice(words) + rng.choice(["", " ", "", "  "]) for _ in range(rng.randint(3, 30))) for _ in range(40)]


def build(vocab, merges):
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL])
    return tokenizer


def byte_spans(text, encoding):
    places = [0]
    for character in text:
        places.append(places[-1] + len(character.encode()))
    spans = [[places[b], places[e]] for b, e in encoding.offsets]
    for i, token in enumerate(encoding.tokens[:-1]):
        if token == "▁" and spans[i + 1][0] == spans[i][0]:
            spans[i][1] = spans[i][0]  # the prefix space, which covers nothing
    return spans


model = sentencepiece.SentencePieceProcessor(model_file=sys.argv[1])
pieces = [model.id_to_piece(i) for i in range(model.get_piece_size())]
scores = [model.get_score(i) for i in range(model.get_piece_size())]
kinds = [2 if model.is_unknown(i) else 3 if model.is_control(i) else 6 if model.is_byte(i) else 5 if model.is_unused(i) else 1
         for i in range(len(pieces))]
vocab = {piece: i for i, piece in enumerate(pieces)}
assert len(vocab) == len(pieces)
normal = {piece for i, piece in enumerate(pieces) if kinds[i] == 1}
merges = []
for piece in normal:
    pairs = [(piece[:i], piece[i:]) for i in range(1, len(piece)) if piece[:i] in normal and piece[i:] in normal]
    pairs.sort(key=lambda pair: (vocab[pair[0]], vocab[pair[1]]))
    merges += [(scores[vocab[piece]], vocab[piece], pair) for pair in pairs]
merges.sort(key=lambda merge: (-merge[0], merge[1]))
merges = [merge[2] for merge in merges]
print(len(pieces), "pieces", len(merges), "merges", {kind: kinds.count(kind) for kind in set(kinds)})

full = build(vocab, merges)
plain = TEXTS + noise()
for text in plain:
    ours, theirs = full.encode(text, add_special_tokens=False).ids, model.encode(text)
    if ours != theirs:
        print("differs from sentencepiece:", repr(text), ours, theirs)
texts = plain + WITH_SPECIAL
normalised = ["▁" + text.replace(" ", "▁") for text in texts] + [
    "▁" + part.replace(" ", "▁") for text in WITH_SPECIAL for part in text.replace("</s>", "<s>").replace("<unk>", "<s>").split("<s>")]
kept = {piece for i, piece in enumerate(pieces) if kinds[i] != 1 or any(piece in text for text in normalised)}
small = build({piece: vocab[piece] for piece in pieces if piece in kept},
              [merge for merge in merges if all(part in kept for part in (*merge, "".join(merge)))])
rows = []
for text in texts:
    encoding = full.encode(text, add_special_tokens=False)
    assert small.encode(text, add_special_tokens=False).ids == encoding.ids, text
    rows.append({"text": text, "ids": encoding.ids, "spans": byte_spans(text, encoding),
                 "decoded": full.decode(encoding.ids, skip_special_tokens=False), "plain": full.decode(encoding.ids)})

OUT.mkdir(parents=True, exist_ok=True)
dump = lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"))
(OUT / "tokenizer.json").write_text(dump(json.loads(small.to_str())) + "\n")
config = {"add_bos_token": True, "bos_token": "<s>", "eos_token": "</s>"}
(OUT / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
(OUT / "expected.json").write_text("[\n" + ",\n".join(dump(row) for row in rows) + "\n]\n")
# The same pieces as GGUF stores them: text, score, type by id.
(OUT / "pieces.json").write_text(dump([[vocab[piece], piece, scores[vocab[piece]], kinds[vocab[piece]]] for piece in pieces if piece in kept]) + "\n")
(OUT / "README.md").write_text(
    "Pieces of Mistral 7B's tokenizer (tokenizer.model.v1 of PyPI's mistral-common 1.13.1, Apache-2.0) that occur in the test's\n"
    "texts, under their own ids; made by tests/oracle/mistral_tokenizer.py.\n")
print(len(kept), "pieces kept")
