"""Golden files of tests/data/tokenizer_test.cpp: tiny tokenizers in the shape of real ones, with ids and spans.

Versions: tokenizers 0.23.3 (Python 3.11). Run from the root of the repository:
    python tests/oracle/tokenizers_golden.py
Writes tests/golden/tokenizer/NAME/tokenizer.json and expected.json (list of {text, ids, spans, decoded}; spans
in bytes, widened to whole characters as this library reports them), for
    llama3  the pattern of Llama 3, ignore_merges, bos by a TemplateProcessing
    gpt2    ByteLevel with its own pattern and a prefix space
    qwen2   NFC, the pattern of Qwen 2
    smollm  Digits one by one, then ByteLevel
    zephyr  SentencePiece style: Prepend, Replace, byte fallback (Llama 2, Mistral, Zephyr)
    joined  the same with merges across spaces, so that lines cannot be cut into words
    metaspace  the same as a Metaspace pre-tokenizer, prepend_scheme first
"""
import json
import pathlib
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

OUT = pathlib.Path(__file__).parent.parent / "golden" / "tokenizer"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")

CORPUS = [
    "The quick brown fox jumps over the lazy dog. It's a test; they've tested, we'll test again!",
    "SELECT COUNT(*) FROM head WHERE age > 56 AND name LIKE 'A%';",
    "def f(x):\n    return x ** 2  # comment\n\n\nclass Thing:\n\tpass\n",
    "naïve café Ünïcödé — “quotes” … 2024-11-21 costs $1,234.56",
    "中文字符 日本語 한국어 кириллица Ελληνικά עברית العربية",
    "In the beginning there was the word and the word was with the user and the assistant.",
    "hello hello hello world world  spaces   more    spaces 123 4567 89012",
]

TEXTS = [
    "", " ", "\n", "\t \t", "hello world", " hello", "hello  world   again    ", "The quick brown fox's tail",
    "I'll can't WE'RE they've it's 'Tis HE'LL 'ſ", "2024-11-21 costs $1,234.56!!", "12 123 1234 12345 ٣٤٥ ½ ² Ⅷ",
    "   leading and   multiple  spaces\n\n\ttabs\r\n", "line\r\nline\rline\n \n  \n   x", "a\u00a0b\u200bc\u2003d\u180ee\u0085f",
    "naïve café Ünïcödé — “quotes” … 中文字符 日本語 한국어", "e\u0301a\u0308 \u1112\u1161\u11ab \u0f71\u0f72 q\u0323\u0307 ﬁ ①",
    "emoji 😀👩‍👩‍👧 flags 🇩🇪 ❤️", "മലയാളം кириллица Ελληνικά עברית العربية", "def f(x):\n    return x**2  # comment\n",
    "<|im_start|>user\nhi<|im_end|>", "<|im_start|><|im_end|>x<|im_end", "a <mask> b<mask>c", "wordtoken token  token tokens token",
    "▁ ▁▁ a▁b ▁c", "<s>hi</s> there</s>\n<s> x", "<0x41> <unk> <0x0A>", "x" * 70 + "1" * 40, " " * 40 + "z", "the" * 30,
    "\u0000\u0001\u007f\u00ad\ufeff", "¿Qué? ¡Sí! «Ça»", "aaa\u0301 \u0301", "http://a.b/c?d=e&f=g#h", "😀" * 5,
]


def noise():
    rng = random.Random(7)
    pool = "aehlost  \n\r\t.,'sS12٣½éß中語한😀\u0301\u00a0\u3000-_<>|▁"
    return ["".join(rng.choice(pool) for _ in range(rng.randint(1, 60))) for _ in range(40)]


def byte_spans(text, encoding):
    places = [0]
    for character in text:
        places.append(places[-1] + len(character.encode()))
    spans = [[places[b], places[e]] for b, e in encoding.offsets]
    for i, token in enumerate(encoding.tokens[:-1]):
        # A prefix space that the tokenizer put in shares the next character's span here; it covers nothing.
        if token in ("▁", "Ġ") and spans[i + 1][0] == spans[i][0]:
            spans[i][1] = spans[i][0]
    for i in range(len(spans) - 1):
        # What the NFC normaliser joins has the span of its first character here; it covers them all.
        end, following = spans[i][1], next((s[0] for s in spans[i + 1:] if s[0] >= spans[i][1]), None)
        if following is not None and following > end:
            for span in spans:
                span[1] = following if span[1] == end else span[1]
    return spans


def train(tokenizer, size, special, alphabet):
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)


def write(name, tokenizer, config, edit=None):
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    data = json.loads(tokenizer.to_str())
    if edit:
        edit(data)
        tokenizer = Tokenizer.from_str(json.dumps(data))
    (folder / "tokenizer.json").write_text(json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    rows = []
    for text in TEXTS + noise():
        encoding = tokenizer.encode(text, add_special_tokens=False)
        rows.append({"text": text, "ids": encoding.ids, "spans": byte_spans(text, encoding),
                     "decoded": tokenizer.decode(encoding.ids, skip_special_tokens=False),
                     "plain": tokenizer.decode(encoding.ids, skip_special_tokens=True)})
    lines = ",\n".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows)
    (folder / "expected.json").write_text("[\n" + lines + "\n]\n")


def byte_level(name, pre_tokenizer, normalizer=None, edit=None, config=None, post=None, vocab=600):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer:
        tokenizer.normalizer = normalizer
    train(tokenizer, vocab, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], pre_tokenizers.ByteLevel.alphabet())
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, rstrip=True)])
    tokenizer.add_tokens([AddedToken("token", single_word=True, normalized=True)])
    if post:
        tokenizer.post_processor = post
    write(name, tokenizer, config or {"bos_token": None, "eos_token": "<|im_end|>"}, edit)


def sentence_piece(name, metaspace=False, joined=False):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    scheme = "first" if metaspace else "always"
    split = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme, split=True)
    if joined:
        tokenizer.normalizer = normalizer
    else:
        tokenizer.pre_tokenizer = split
    letters = sorted(set("".join(CORPUS[:3] + CORPUS[5:])) - set("\n\t ")) + ["é", "中", "▁"]
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    train(tokenizer, 550, special, letters)
    if not metaspace:
        tokenizer.normalizer = normalizer
    ends = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(ends)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])

    def edit(data):
        if not metaspace:
            data["pre_tokenizer"] = None  # Llama 2's own: the line is one word
        data["added_tokens"] = [token for token in data["added_tokens"] if not token["content"].startswith("<0x")]

    write(name, tokenizer, {"bos_token": "<s>", "eos_token": {"content": "</s>"}}, edit)


isolate = lambda pattern: pre_tokenizers.Split(Regex(pattern), "isolated")
plain = lambda: pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def ignore_merges(data):
    data["model"]["ignore_merges"] = True


byte_level("llama3", pre_tokenizers.Sequence([isolate(LLAMA3), plain()]), edit=ignore_merges,
           config={"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"},
           post=processors.TemplateProcessing(single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]))
byte_level("gpt2", pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True))
byte_level("qwen2", pre_tokenizers.Sequence([isolate(QWEN2), plain()]), normalizer=normalizers.NFC())
byte_level("smollm", pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                             pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]))
sentence_piece("zephyr")
sentence_piece("joined", joined=True)
sentence_piece("metaspace", metaspace=True)
