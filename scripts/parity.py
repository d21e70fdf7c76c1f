"""Holds models of `train` against transformers, in both directions.

    pip install torch transformers peft   (CPU builds are enough)
    TRAIN_PYTHON=python cargo test --test train parity -- --nocapture

The test trains and exports models, stores what they compute, and calls

    parity.py compare EXPORTED OURS     loads EXPORTED by AutoModel and AutoTokenizer, prints the differences
    parity.py adapter BASE ADAPTER OURS lays ADAPTER over BASE by PEFT, prints the differences
    parity.py gguf FILE EXPORTED        reads FILE by llama.cpp's gguf package (skipped without it) and compares
    parity.py make FOLDER TEXTS         writes models by transformers with what they compute, for `train` to load

OURS holds texts.json, generated.json and tensors.safetensors with input_ids.I, lengths.I and logits.I of batch I,
without its padding; here the texts run as padded batches. Ids are stored as floats, exact below 2^24.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

ROWS = 8
PROMPTS = 10
NEW_TOKENS = 16


def is_classifier(folder):
    architecture = json.loads((folder / "config.json").read_text())["architectures"][0]
    return architecture.endswith("ForSequenceClassification")


def encode(tokenizer, texts):
    return tokenizer(texts, padding=True, truncation=True, return_tensors="pt")


def greedy(model, tokenizer, text):
    ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=24)
    with torch.no_grad():
        out = model.generate(
            ids["input_ids"], attention_mask=ids["attention_mask"], do_sample=False, max_new_tokens=NEW_TOKENS,
            pad_token_id=tokenizer.pad_token_id,
        )
    new = out[0, ids["input_ids"].shape[1] :].tolist()
    end = model.generation_config.eos_token_id
    return new[: new.index(end)] if end in new else new


def differences(model, tokenizer, ours, classifier):
    """Largest difference of any logit to what `train` computed, and whether the ids are the same."""
    texts = json.loads((ours / "texts.json").read_text())
    tensors = load_file(ours / "tensors.safetensors")
    largest, same_ids = 0.0, True
    for batch, start in enumerate(range(0, len(texts), ROWS)):
        encoded = encode(tokenizer, texts[start : start + ROWS])
        mask = encoded["attention_mask"].bool()
        same_ids &= torch.equal(encoded["input_ids"][mask], tensors[f"input_ids.{batch}"].long())
        same_ids &= torch.equal(mask.sum(1), tensors[f"lengths.{batch}"].long())
        with torch.no_grad():
            logits = model(**encoded).logits
        logits = logits if classifier else logits[mask]
        largest = max(largest, (logits - tensors[f"logits.{batch}"]).abs().max().item())
    return largest, same_ids


def compare(folder, ours):
    """Prints one JSON object: what differs between the exported model and what `train` computed."""
    classifier = is_classifier(folder)
    kind = AutoModelForSequenceClassification if classifier else AutoModelForCausalLM
    model, report = kind.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    model.eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    largest, same_ids = differences(model, tokenizer, ours, classifier)
    tensors = load_file(ours / "tensors.safetensors")
    texts = json.loads((ours / "texts.json").read_text())
    result = {
        "class": type(model).__name__,
        "texts": len(texts),
        "max_difference": largest,
        "largest_logit": max(value.abs().max().item() for name, value in tensors.items() if "logits" in name),
        "same_ids": same_ids,
        "tensors_missing_or_unexpected": sorted(report["missing_keys"]) + sorted(report["unexpected_keys"]),
        "labels": model.config.id2label if classifier else None,
    }
    if not classifier:
        theirs = [greedy(model, tokenizer, text) for text in texts[:PROMPTS]]
        result["same_generated"] = theirs == json.loads((ours / "generated.json").read_text())
    print(json.dumps(result))


def adapter(base, folder, ours):
    """Prints one JSON object: what differs between PEFT over the base and the merged weights of `train`."""
    from peft import PeftModel, get_peft_model_state_dict

    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2, dtype=torch.float32)
    model = PeftModel.from_pretrained(model, folder, is_trainable=True)
    # Counted as trainable, computed without dropout.
    model.eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    largest, same_ids = differences(model, tokenizer, ours, True)
    with model.disable_adapter():
        without, _ = differences(model, tokenizer, ours, True)
    expected, stored = get_peft_model_state_dict(model), load_file(folder / "adapter_model.safetensors")
    differing = set(expected) ^ set(stored) | {name for name in stored if not torch.equal(expected[name], stored[name])}
    tensors = load_file(ours / "tensors.safetensors")
    print(json.dumps({
        "class": type(model).__name__,
        "max_difference": largest,
        "without_adapter": without,
        "largest_logit": max(value.abs().max().item() for name, value in tensors.items() if "logits" in name),
        "same_ids": same_ids,
        "tensors_missing_or_unexpected": sorted(differing),
        "trainable_parameters": model.get_nb_trainable_parameters()[0],
    }))


def gguf(path, folder):
    """Prints one JSON object: how the GGUF file differs from the exported folder, by llama.cpp's names."""
    try:
        from gguf import MODEL_ARCH, GGUFReader, get_tensor_name_map
        from gguf.quants import dequantize
    except ImportError:
        print("null")
        return
    reader = GGUFReader(path)
    config = json.loads((folder / "config.json").read_text())
    llama = config["model_type"] == "llama"
    layers = config["num_hidden_layers" if llama else "n_layer"]
    names = get_tensor_name_map(MODEL_ARCH.LLAMA if llama else MODEL_ARCH.GPT2, layers)
    stored = {tensor.name: tensor for tensor in reader.tensors}
    largest, relative, types = 0.0, 0.0, set()
    for name, tensor in load_file(folder / "model.safetensors").items():
        tensor = tensor.numpy()
        # As llama.cpp's convert_hf_to_gguf.py does it.
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            heads = config["num_attention_heads" if "q_proj" in name else "num_key_value_heads"]
            halves = tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, tensor.shape[1])
            tensor = halves.swapaxes(1, 2).reshape(tensor.shape)
        elif name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
            tensor = tensor.T
        found = stored.pop(names.get_name(name, try_suffixes=(".weight", ".bias")))
        types.add(found.tensor_type.name)
        values = dequantize(found.data, found.tensor_type).reshape(tensor.shape)
        difference = float(abs(values - tensor).max())
        largest, relative = max(largest, difference), max(relative, difference / float(abs(tensor).max()))
    tokens = reader.fields["tokenizer.ggml.tokens"]
    result = {
        "architecture": reader.fields["general.architecture"].contents(),
        "types": sorted(types),
        "max_difference": largest,
        "relative_difference": relative,
        "unexpected": sorted(stored),
        "tokens": len(tokens.contents()),
        "pre": reader.fields["tokenizer.ggml.pre"].contents(),
    }
    print(json.dumps(result))


def byte_level(texts):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def sentence_piece(texts):
    """As Llama 2: words marked by a bar, bytes as a fallback, <s> before each text."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.Metaspace(), decoders.ByteFallback(), decoders.Fuse()])
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=["<unk>", "<s>", "</s>"] + bytes_)
    tokenizer.train_from_iterator([text for text in texts if text.isascii()], trainer)
    begin = tokenizer.token_to_id("<s>")
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", begin)])
    return tokenizer


def gpt2(vocab_size, **more):
    return GPT2Config(
        vocab_size=vocab_size, n_positions=96, n_embd=48, n_layer=3, n_head=4, initializer_range=0.2,
        bos_token_id=0, eos_token_id=0, pad_token_id=0, **more,
    )


def llama(vocab_size, **more):
    keys = dict(
        vocab_size=vocab_size, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=6,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=96, initializer_range=0.2,
    )
    return LlamaConfig(**(keys | more))


def store(folder, model, tokenizer, texts, dtype=torch.float32, save=None, **saving):
    """Saves the model in `dtype` and what it computes from those weights in f32."""
    folder.mkdir(parents=True)
    (save or model).to(dtype).save_pretrained(folder, **saving)
    tokenizer.model_max_length = 96
    tokenizer.save_pretrained(folder)
    if save is None:
        # Loaded anew, since `to` would round the rotary frequencies too.
        model = type(model).from_pretrained(folder, dtype=torch.float32)
    model.eval()
    classifier = save is None and is_classifier(folder)
    tensors, generated = {}, []
    for batch, start in enumerate(range(0, len(texts), ROWS)):
        encoded = encode(tokenizer, texts[start : start + ROWS])
        mask = encoded["attention_mask"].bool()
        with torch.no_grad():
            logits = model(**encoded).logits
        tensors[f"logits.{batch}"] = (logits if classifier else logits[mask]).contiguous()
        tensors[f"input_ids.{batch}"] = encoded["input_ids"][mask].float()
        tensors[f"lengths.{batch}"] = encoded["attention_mask"].sum(1).float()
    if not classifier:
        generated = [greedy(model, tokenizer, text) for text in texts[:PROMPTS]]
    (folder / "reference").mkdir()
    save_file(tensors, folder / "reference" / "tensors.safetensors", metadata={"format": "pt"})
    (folder / "reference" / "generated.json").write_text(json.dumps(generated))


def as_original_gpt2(folder):
    """The form of the first GPT-2 files: causal masks as buffers, vocab.json and merges.txt."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    assert not any(name.startswith("transformer.") for name in tensors), "saved without its head"
    for layer in range(3):
        tensors[f"h.{layer}.attn.bias"] = torch.ones(1, 1, 96, 96, dtype=torch.uint8)
        tensors[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    save_file(tensors, path, metadata={"format": "pt"})
    described = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "vocab.json").write_text(json.dumps(described["vocab"]))
    merges = "\n".join(" ".join(pair) for pair in described["merges"])
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n")
    for name in ["tokenizer.json", "tokenizer_config.json"]:
        (folder / name).unlink()


def as_older_llama(folder):
    """Before version 5 the rotary base stood at the top of config.json; older files carry its frequencies."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
    path.write_text(json.dumps(config | {"rope_scaling": None, "pretraining_tp": 1, "torch_dtype": config.pop("dtype")}))
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
    save_file(tensors, path, metadata={"format": "pt"})


def make(folder, texts):
    """Writes one model of each kind below `folder`."""
    torch.manual_seed(1)
    special = dict(bos_token="<|endoftext|>", eos_token="<|endoftext|>", pad_token="<|endoftext|>")
    bpe = PreTrainedTokenizerFast(tokenizer_object=byte_level(texts), split_special_tokens=True, **special)
    size = len(bpe)
    store(folder / "gpt2", GPT2LMHeadModel(gpt2(size)), bpe, texts)
    model = GPT2LMHeadModel(gpt2(size))
    store(folder / "gpt2-original", model, bpe, texts, save=model.transformer)
    as_original_gpt2(folder / "gpt2-original")
    store(folder / "gpt2-classifier", GPT2ForSequenceClassification(gpt2(size, num_labels=2)), bpe, texts)

    named = dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>")
    pieces = PreTrainedTokenizerFast(tokenizer_object=sentence_piece(texts), split_special_tokens=True, **named)
    ids = dict(bos_token_id=1, eos_token_id=2, pad_token_id=0)
    rope = {"rope_type": "default", "rope_theta": 500_000.0}
    model = LlamaForCausalLM(llama(len(pieces), rope_parameters=rope, **ids))
    store(folder / "llama-sharded-bf16", model, pieces, texts, torch.bfloat16, max_shard_size="60KB")
    ends = dict(bos_token_id=0, eos_token_id=0)
    model = LlamaForCausalLM(llama(size, tie_word_embeddings=True, num_key_value_heads=6, head_dim=8, **ends))
    store(folder / "llama-older-tied-f16", model, bpe, texts, torch.float16)
    as_older_llama(folder / "llama-older-tied-f16")
    names = {0: "ham", 1: "spam", 2: "other"}
    config = llama(len(pieces), id2label=names, label2id={name: id for id, name in names.items()}, **ids)
    store(folder / "llama-classifier", LlamaForSequenceClassification(config), pieces, texts)


if __name__ == "__main__":
    command, *paths = sys.argv[1:]
    if command == "compare":
        compare(*map(Path, paths))
    elif command == "adapter":
        adapter(*map(Path, paths))
    elif command == "gguf":
        gguf(*map(Path, paths))
    else:
        make(Path(paths[0]), json.loads(Path(paths[1]).read_text()))
