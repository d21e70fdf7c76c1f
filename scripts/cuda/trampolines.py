"""Writes the tables that cuda/lazy.c works with: one trampoline per CUDA function that cudarc declares.

    cargo metadata --features cuda ... | trampolines.py DIR

DIR/trampolines.S: each function jumps through its slot of `cuda_lazy_table`. At first the slot leads to
`cuda_lazy_entry`, which saves every register that may hold an argument (System V ABI of x86-64), lets
`cuda_lazy_resolve` put the real address into the slot, and jumps there.
DIR/functions.h: the sonames, and name and library of each function, in the order of the slots.
"""

import json
import pathlib
import re
import sys

# Module of cudarc's bindings and the library behind it; cuda/lazy.c relies on this order.
LIBRARIES = [
    ("driver", "libcuda.so.1"),
    ("cublas", "libcublas.so.13"),
    ("cublaslt", "libcublasLt.so.13"),
    ("curand", "libcurand.so.10"),
    ("nvrtc", "libnvrtc.so.13"),
    ("cudnn", "libcudnn.so.9"),
    ("nccl", "libnccl.so.2"),
]
DECLARATION = re.compile(r'extern "C" \{\s*(?:#\[[^\]]*\]\s*)*(?:pub )?fn (\w+)\(')
ARGUMENT_REGISTERS = ["rdi", "rsi", "rdx", "rcx", "r8", "r9", "rax"]  # rax counts the vector arguments
VECTOR_BYTES = 8 * 16  # xmm0 to xmm7
FRAME = VECTOR_BYTES + 8  # keeps the stack aligned to 16 bytes at the call


def functions(bindings):
    """Name and library index of every function, each name once."""
    library_of = {}
    for index, (module, _) in enumerate(LIBRARIES):
        text = (bindings / module / "sys" / "mod.rs").read_text()
        for name in sorted(set(DECLARATION.findall(text))):
            library_of.setdefault(name, index)
    if len(library_of) < 1000:
        sys.exit(f"trampolines.py: only {len(library_of)} functions found in {bindings}; has cudarc changed?")
    return list(library_of.items())


def assembly(names):
    yield ".data\n.balign 8\n.globl cuda_lazy_table\n.hidden cuda_lazy_table\ncuda_lazy_table:\n.text"
    for slot, name in enumerate(names):
        yield f".globl {name}\n.type {name},@function\n{name}: jmp *cuda_lazy_table+{8 * slot}(%rip)"
        yield f"0: pushq ${slot}\njmp cuda_lazy_entry\n.data\n.quad 0b\n.text"
    yield "cuda_lazy_entry:"
    yield from (f"pushq %{register}" for register in ARGUMENT_REGISTERS)
    yield f"subq ${FRAME},%rsp"
    yield from (f"movups %xmm{i},{16 * i}(%rsp)" for i in range(8))
    yield f"movq {FRAME + 8 * len(ARGUMENT_REGISTERS)}(%rsp),%rdi\ncall cuda_lazy_resolve\nmovq %rax,%r11"
    yield from (f"movups {16 * i}(%rsp),%xmm{i}" for i in range(8))
    yield f"addq ${FRAME},%rsp"
    yield from (f"popq %{register}" for register in reversed(ARGUMENT_REGISTERS))
    yield 'addq $8,%rsp\njmp *%r11\n.section .note.GNU-stack,"",@progbits\n'


def main():
    out = pathlib.Path(sys.argv[1])
    packages = json.load(sys.stdin)["packages"]
    manifest = next(p["manifest_path"] for p in packages if p["name"] == "cudarc")
    table = functions(pathlib.Path(manifest).parent / "src")
    (out / "trampolines.S").write_text("\n".join(assembly([name for name, _ in table])))
    sonames = ", ".join(f'"{soname}"' for _, soname in LIBRARIES)
    rows = "\n".join(f'    {{"{name}", {library}}},' for name, library in table)
    (out / "functions.h").write_text(
        f"static const char *const sonames[] = {{{sonames}}};\n"
        f"static const struct {{ const char *name; int library; }} functions[] = {{\n{rows}\n}};\n"
    )


main()
