#include "base/symbol.h"

#include <elf.h>
#include <fcntl.h>
#include <inttypes.h>
#include <link.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The program comes first in the list of what is loaded. */
static int take_base(struct dl_phdr_info *info, size_t size UNUSED, void *ctx)
{
    *(uintptr_t *)ctx = info->dlpi_addr;
    return 1;
}

struct image {
    const uint8_t *p;
    size_t len;
};

static const void *at(const struct image *i, uint64_t offset, uint64_t len)
{
    return offset <= i->len && len <= i->len - offset ? i->p + offset : NULL;
}

static const char *find_in_table(const struct image *i, const ElfW(Shdr) * table, const ElfW(Shdr) * names,
                                 uintptr_t address)
{
    const ElfW(Sym) *symbols = at(i, table->sh_offset, table->sh_size);
    const char *text = at(i, names->sh_offset, names->sh_size);
    for (size_t n = 0; symbols != NULL && text != NULL && n < table->sh_size / sizeof(*symbols); n++)
        if (symbols[n].st_value == address && (symbols[n].st_info & 0xf) == STT_FUNC &&
            symbols[n].st_name < names->sh_size &&
            memchr(text + symbols[n].st_name, '\0', names->sh_size - symbols[n].st_name) != NULL)
            return text + symbols[n].st_name;
    return NULL;
}

static const char *symbol_find_name(const struct image *i, uintptr_t address)
{
    const ElfW(Ehdr) *head = at(i, 0, sizeof(*head));
    const ElfW(Shdr) *sections =
        head != NULL ? at(i, head->e_shoff, (uint64_t)head->e_shnum * sizeof(*sections)) : NULL;
    for (int n = 0; sections != NULL && n < head->e_shnum; n++)
        if (sections[n].sh_type == SHT_SYMTAB && sections[n].sh_link < head->e_shnum)
            return find_in_table(i, &sections[n], &sections[sections[n].sh_link], address);
    return NULL;
}

static bool map_program(struct image *out)
{
    struct stat st;
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0;
    void *p = ok ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    if (fd >= 0)
        close(fd);
    if (p == MAP_FAILED)
        return false;
    *out = (struct image){p, (size_t)st.st_size};
    return true;
}

const char *symbol_name(void (*function)(void), char buf[SYMBOL_ROOM])
{
    struct image image;
    uintptr_t base = 0;
    dl_iterate_phdr(take_base, &base);
    uintptr_t address = (uintptr_t)function - base;
    snprintf(buf, SYMBOL_ROOM, "the function at 0x%" PRIxPTR, address);
    if (!map_program(&image))
        return buf;
    const char *name = symbol_find_name(&image, address);
    if (name != NULL)
        snprintf(buf, SYMBOL_ROOM, "%s()", name);
    munmap((void *)(uintptr_t)image.p, image.len);
    return buf;
}
