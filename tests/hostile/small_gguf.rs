//! A small language model as a GGUF file, written by candle and not by this program.

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

/// Rows of the embedding: every byte, some merges, the end of text and one row that is no token.
pub const ROWS: usize = 268;
pub const END: u32 = 266;

/// Merges of the vocabulary; a space is `Ġ`, a line feed `Ċ`.
const MERGES: [&str; 10] = ["1 2", "12 3", "123 4", "1234 5", "Ġ 1", "Ġ x", "Ċ Ċ", "! !", "x !", "' S"];

/// Keys and tensors, to be changed before they are written.
pub struct SmallGguf {
    pub keys: Vec<(String, Value)>,
    pub tensors: Vec<(String, QTensor)>,
}

impl SmallGguf {
    /// One block of this width; matrices as `dtype`, the rest f32.
    pub fn llama(width: usize, dtype: GgmlDType) -> Self {
        let sizes = [
            ("context_length", Value::U32(64)),
            ("embedding_length", Value::U32(width as u32)),
            ("block_count", Value::U32(1)),
            ("feed_forward_length", Value::U32(2 * width as u32)),
            ("attention.head_count", Value::U32(4)),
            ("attention.head_count_kv", Value::U32(2)),
            ("attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
            ("rope.freq_base", Value::F32(10_000.0)),
            ("rope.dimension_count", Value::U32(width as u32 / 4)),
        ];
        let mut file = Self { keys: keys("llama", &sizes), tensors: Vec::new() };
        file.add("token_embd.weight", &[ROWS, width], dtype);
        for (name, outputs, inputs) in [
            ("attn_q", width, width),
            ("attn_k", width / 2, width),
            ("attn_v", width / 2, width),
            ("attn_output", width, width),
            ("ffn_gate", 2 * width, width),
            ("ffn_up", 2 * width, width),
            ("ffn_down", width, 2 * width),
        ] {
            file.add(&format!("blk.0.{name}.weight"), &[outputs, inputs], dtype);
        }
        for name in ["blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"] {
            file.add(&format!("{name}.weight"), &[width], GgmlDType::F32);
        }
        file
    }

    /// As `llama`.
    pub fn gpt2(width: usize, dtype: GgmlDType) -> Self {
        let sizes = [
            ("context_length", Value::U32(64)),
            ("embedding_length", Value::U32(width as u32)),
            ("block_count", Value::U32(1)),
            ("feed_forward_length", Value::U32(4 * width as u32)),
            ("attention.head_count", Value::U32(2)),
            ("attention.layer_norm_epsilon", Value::F32(1e-5)),
        ];
        let mut file = Self { keys: keys("gpt2", &sizes), tensors: Vec::new() };
        file.add("token_embd.weight", &[ROWS, width], dtype);
        file.add("position_embd.weight", &[64, width], GgmlDType::F32);
        for (name, outputs, inputs) in [
            ("attn_qkv", 3 * width, width),
            ("attn_output", width, width),
            ("ffn_up", 4 * width, width),
            ("ffn_down", width, 4 * width),
        ] {
            file.add(&format!("blk.0.{name}.weight"), &[outputs, inputs], dtype);
            file.add(&format!("blk.0.{name}.bias"), &[outputs], GgmlDType::F32);
        }
        for name in ["blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"] {
            file.add(&format!("{name}.weight"), &[width], GgmlDType::F32);
            file.add(&format!("{name}.bias"), &[width], GgmlDType::F32);
        }
        file
    }

    /// Adds a tensor of small numbers that differ.
    pub fn add(&mut self, name: &str, shape: &[usize], dtype: GgmlDType) {
        let (count, seed) = (shape.iter().product::<usize>(), self.tensors.len());
        let values = (0..count).map(|at| ((at * 37 + seed * 11) % 101) as f32 / 250.0 - 0.2);
        self.add_values(
            name,
            &Tensor::from_iter(values, &Device::Cpu).unwrap().reshape(shape).unwrap(),
            dtype,
        );
    }

    pub fn add_values(&mut self, name: &str, values: &Tensor, dtype: GgmlDType) {
        self.tensors.push((name.into(), QTensor::quantize(values, dtype).unwrap()));
    }

    /// Changes one key; none removes it.
    pub fn set(&mut self, key: &str, value: impl Into<Option<Value>>) {
        self.keys.retain(|(name, _)| name != key);
        self.keys.extend(value.into().map(|value| (key.to_string(), value)));
    }

    pub fn bytes(&self) -> Vec<u8> {
        let keys: Vec<(&str, &Value)> = self.keys.iter().map(|(key, value)| (key.as_str(), value)).collect();
        let tensors: Vec<(&str, &QTensor)> =
            self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let mut bytes = std::io::Cursor::new(Vec::new());
        gguf_file::write(&mut bytes, &keys, &tensors).unwrap();
        bytes.into_inner()
    }
}

fn keys(architecture: &str, sizes: &[(&str, Value)]) -> Vec<(String, Value)> {
    // GPT-2's character for each byte: itself where it can be seen, else the next one above Latin-1.
    let seen = |byte: u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let mut hidden = 255;
    let bytes = (0..256_u32).map(|byte| {
        hidden += u32::from(!seen(byte));
        char::from_u32(if seen(byte) { byte } else { hidden }).unwrap().to_string()
    });
    let merged = MERGES.map(|merge| merge.replace(' ', ""));
    let tokens = bytes.chain(merged).chain(["<|endoftext|>".to_string(), "[unused]".to_string()]);
    let tokens: Vec<Value> = tokens.map(Value::String).collect();
    let kind = |id: usize| Value::I32([1, 3, 5][id.saturating_sub(END as usize - 1).min(2)]);
    let mut keys = vec![("general.architecture".to_string(), Value::String(architecture.into()))];
    keys.extend(sizes.iter().map(|(key, value)| (format!("{architecture}.{key}"), value.clone())));
    let vocabulary = [
        ("model", Value::String("gpt2".into())),
        ("pre", Value::String("gpt-2".into())),
        ("token_type", Value::Array((0..tokens.len()).map(kind).collect())),
        ("tokens", Value::Array(tokens)),
        ("merges", Value::Array(MERGES.map(|merge| Value::String(merge.into())).to_vec())),
        ("eos_token_id", Value::U32(END)),
    ];
    keys.extend(vocabulary.map(|(key, value)| (format!("tokenizer.ggml.{key}"), value)));
    keys
}
