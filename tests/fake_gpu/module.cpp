// What a module says of its kernels, as the driver reads it when the module is loaded.
#include <cstring>
#include <elf.h>

#include "fake_gpu.hpp"

namespace fake {
namespace {

constexpr unsigned FATBIN_MAGIC = 0xba55ed50, EM_CUDA_ = 190;
struct FatHeader {
    uint32_t magic;
    uint16_t version, header_bytes;
    uint64_t bytes;
};

/// Sections `.text.NAME` hold the code of a kernel, with the number of registers in the highest byte of sh_info up to
/// compute capability 8.x; `.nv.shared.NAME` its static shared memory. From 9.0 on that section is larger by 1 KiB
/// that the system keeps, which no limit counts.
void read_elf(const char* elf, std::map<std::string, Code>& kernels) {
    auto& header = *reinterpret_cast<const Elf64_Ehdr*>(elf);
    if (header.e_machine != EM_CUDA_) return;
    auto* sections = reinterpret_cast<const Elf64_Shdr*>(elf + header.e_shoff);
    const char* names = elf + sections[header.e_shstrndx].sh_offset;
    unsigned architecture = header.e_flags >> 8 & 0xff;
    for (int i = 0; i < header.e_shnum; i++) {
        std::string_view name = names + sections[i].sh_name;
        auto starts = [&](std::string_view with) { return name.substr(0, with.size()) == with; };
        if (starts(".text.")) {
            unsigned& registers = kernels[std::string(name.substr(6))].registers;
            registers = std::max<unsigned>(registers, sections[i].sh_info >> 24);
        } else if (starts(".nv.shared.") && architecture < 90) {
            kernels[std::string(name.substr(11))].static_shared_bytes = sections[i].sh_size;
        }
    }
}

/// Names follow the words ".entry".
void read_ptx(std::string_view text, std::map<std::string, Code>& kernels) {
    constexpr std::string_view WORD = ".entry ";
    for (size_t at = text.find(WORD); at != text.npos; at = text.find(WORD, at + 1)) {
        size_t start = at + WORD.size();
        kernels[std::string(text.substr(start, text.find_first_of("( \n", start) - start))];
    }
}

}  // namespace

std::map<std::string, Code> read_module(const char* image) {
    std::map<std::string, Code> kernels;
    auto& header = *reinterpret_cast<const FatHeader*>(image);
    if (header.magic != FATBIN_MAGIC) {
        read_ptx(image, kernels);
        return kernels;
    }
    const char* end = image + header.header_bytes + header.bytes;
    for (const char* at = image; (at = static_cast<const char*>(memmem(at, end - at, ELFMAG, SELFMAG))); at++)
        read_elf(at, kernels);
    return kernels;
}

}  // namespace fake
