/* SPDX-License-Identifier: MIT */
/* ELF vmlinux, entered through its PVH note.
 *
 * PT_LOAD segments go to their physical addresses. The note (name "Xen", type 18,
 * XEN_ELFNOTE_PHYS32_ENTRY) holds the physical address of a 32-bit entry: protected mode, paging
 * off, EBX = hvm_start_info. The layout of that structure is version 1 of Xen's public header
 * hvm/start_info.h; the entry state is docs/misc/pvh.pandoc. Notes are padded to 4 bytes, whatever
 * p_align says, but for GNU's property note (gABI, "Note Section"; the x86-64 psABI,
 * ".note.gnu.property").
 *
 * Everything in the file is hostile until checked. Segments must lie in RAM from 1 MiB up, so that
 * they overlap neither the tables below 1 MiB nor the hole, and they must not overlap each other.
 * The rest of a segment, beyond its bytes in the file, is zero already, because guest memory is
 * fresh. */
#include <assert.h>
#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "boot/kernel.h"
#include "boot/long_mode.h"
#include "guest/layout.h"

#define NOTE_PHYS32_ENTRY 18
#define NOTES_SIZE_MAX (64 * KIB)
/* Linux/x86 copies 2048 bytes of command line, the NUL included, and an ELF file does not say
 * so. */
#define CMDLINE_MAX 2047
/* As bzImage says: what Linux can reach while it starts. */
#define INITRD_LIMIT 0x80000000u

#define START_MAGIC 0x336ec578
#define START_VERSION 1

struct hvm_start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t nr_modules;
	uint64_t modlist_paddr;
	uint64_t cmdline_paddr;
	uint64_t rsdp_paddr;
	uint64_t memmap_paddr;
	uint32_t memmap_entries;
	uint32_t reserved;
};
static_assert(sizeof(struct hvm_start_info) == 56, "as Xen lays it out");

struct hvm_module {
	uint64_t paddr;
	uint64_t size;
	uint64_t cmdline_paddr;
	uint64_t reserved;
};

struct hvm_memmap_entry {
	uint64_t addr;
	uint64_t size;
	uint32_t type;
	uint32_t reserved;
};

/* Start info and what it points to, in one piece. */
struct start_page {
	struct hvm_start_info info;
	struct hvm_module initrd;
	struct hvm_memmap_entry memmap[E820_RANGES_MAX];
};
static_assert(LAYOUT_PVH_START_INFO + sizeof(struct start_page) <= LAYOUT_BOOT_PARAMS,
              "start info has its place");

/* Whether [offset, offset + length) is inside the file. */
static bool in_file(const struct boot_image *image, uint64_t offset, uint64_t length)
{
	return offset <= image->size && length <= image->size - offset;
}

static int check_header(const struct boot_image *image, const Elf64_Ehdr *ehdr,
                        struct problems *problems)
{
	if (ehdr->e_ident[EI_CLASS] != ELFCLASS64 || ehdr->e_ident[EI_DATA] != ELFDATA2LSB ||
	    ehdr->e_machine != EM_X86_64)
		return boot_image_refuse(image, problems,
		                         "is an ELF file, but not for x86-64 (class %u, data %u, "
		                         "machine %u)",
		                         ehdr->e_ident[EI_CLASS], ehdr->e_ident[EI_DATA],
		                         ehdr->e_machine);
	if (ehdr->e_type != ET_EXEC)
		return boot_image_refuse(image, problems,
		                         "is an ELF file, but not an executable (type %u): give "
		                         "the vmlinux itself",
		                         ehdr->e_type);
	if (ehdr->e_phentsize != sizeof(Elf64_Phdr) || ehdr->e_phnum == 0 ||
	    ehdr->e_phnum > ELF_SEGMENTS_MAX)
		return boot_image_refuse(image, problems,
		                         "has %u program headers of %u bytes; 1 to %u of %zu bytes "
		                         "are expected",
		                         ehdr->e_phnum, ehdr->e_phentsize, ELF_SEGMENTS_MAX,
		                         sizeof(Elf64_Phdr));
	if (!in_file(image, ehdr->e_phoff, ehdr->e_phnum * sizeof(Elf64_Phdr)))
		return boot_image_refuse(image, problems,
		                         "is truncated: its program headers at byte %" PRIu64
		                         " lie outside of the file (%" PRIu64 " bytes)",
		                         ehdr->e_phoff, image->size);
	return 0;
}

/* Validates one PT_LOAD and adds it to the plan. `i` is its number, for the message. */
static int add_segment(const struct boot_image *image, const Elf64_Phdr *phdr, size_t i,
                       uint64_t ram_end, struct problems *problems, struct elf_plan *plan)
{
	if (phdr->p_filesz > phdr->p_memsz)
		return boot_image_refuse(image, problems,
		                         "is corrupt: segment %zu has more bytes in the file "
		                         "(%" PRIu64 ") than in memory (%" PRIu64 ")",
		                         i, phdr->p_filesz, phdr->p_memsz);
	if (!in_file(image, phdr->p_offset, phdr->p_filesz))
		return boot_image_refuse(image, problems,
		                         "is truncated: segment %zu is %" PRIu64
		                         " bytes at byte %" PRIu64 ", the file has %" PRIu64,
		                         i, phdr->p_filesz, phdr->p_offset, image->size);
	if (phdr->p_memsz == 0)
		return 0;
	if (phdr->p_paddr < LAYOUT_KERNEL)
		return boot_image_refuse(image, problems,
		                         "wants segment %zu at 0x%" PRIx64
		                         ", below 1 MiB, where the guest's tables are",
		                         i, phdr->p_paddr);
	if (phdr->p_paddr >= ram_end || phdr->p_memsz > ram_end - phdr->p_paddr)
		return boot_image_refuse(image, problems,
		                         "needs %" PRIu64 " bytes at 0x%" PRIx64
		                         " (segment %zu), and RAM below 4 GiB ends at 0x%" PRIx64
		                         ": give the guest more memory",
		                         phdr->p_memsz, phdr->p_paddr, i, ram_end);
	for (size_t j = 0; j < plan->count; j++) {
		const struct elf_segment *other = &plan->segments[j];

		if (phdr->p_paddr < other->base + other->size &&
		    other->base < phdr->p_paddr + phdr->p_memsz)
			return boot_image_refuse(image, problems,
			                         "is corrupt: segment %zu at 0x%" PRIx64
			                         " overlaps another one at 0x%" PRIx64,
			                         i, phdr->p_paddr, other->base);
	}
	plan->segments[plan->count++] = (struct elf_segment){
		.offset = phdr->p_offset,
		.file_size = phdr->p_filesz,
		.base = phdr->p_paddr,
		.size = phdr->p_memsz,
	};
	plan->limits.end = MAX(plan->limits.end, phdr->p_paddr + phdr->p_memsz);
	return 0;
}

/* The result of the notes so far. Unreadable notes are skipped, since the entry may be elsewhere;
 * the first of them is kept for the refusal. */
struct note_search {
	bool found;
	uint64_t entry;
	char unreadable[128];
};

static void pass_over(struct note_search *search, const char *format, ...) _printf_(2, 3);
static void pass_over(struct note_search *search, const char *format, ...)
{
	va_list args;

	if (search->unreadable[0])
		return;
	va_start(args, format);
	vsnprintf(search->unreadable, sizeof(search->unreadable), format, args);
	va_end(args);
}

/* The notes of one PT_NOTE. */
struct notes {
	const uint8_t *bytes;
	uint64_t size;
	uint64_t offset; /* in the file */
	bool aligned_8;  /* p_align says so */
};

/* A note's parts, as offsets from the start of its segment. */
struct note {
	Elf64_Nhdr header;
	uint64_t name, desc, end;
};

/* Reads the note at `at`, whose description is padded to a multiple of `align`; false if the
 * segment ends before it. No overflow: `at` is at most 64 KiB and both sizes are 32 bits wide. */
static bool read_note(const struct notes *notes, uint64_t at, uint64_t align, struct note *ret)
{
	if (at > notes->size || notes->size - at < sizeof(ret->header))
		return false;
	memcpy(&ret->header, notes->bytes + at, sizeof(ret->header));
	ret->name = at + sizeof(ret->header);
	ret->desc = ALIGN_UP(ret->name + ret->header.n_namesz, align);
	ret->end = ret->desc + ret->header.n_descsz;
	return ret->end <= notes->size;
}

static bool is_note(const struct notes *notes, const struct note *note, uint32_t type,
                    const char *name)
{
	size_t size = strlen(name) + 1;

	return note->header.n_type == type && note->header.n_namesz == size &&
	       memcmp(notes->bytes + note->name, name, size) == 0;
}

/* Takes the entry address from PVH's note. Linux writes it as 4 or as 8 bytes. */
static bool take_entry(const struct notes *notes, const struct note *note,
                       struct note_search *search)
{
	if (!is_note(notes, note, NOTE_PHYS32_ENTRY, "Xen") ||
	    (note->header.n_descsz != 4 && note->header.n_descsz != 8))
		return false;
	memcpy(&search->entry, notes->bytes + note->desc, note->header.n_descsz);
	search->found = true;
	return true;
}

static bool is_property(const struct notes *notes, uint64_t at)
{
	struct note note;

	return read_note(notes, at, 4, &note) &&
	       is_note(notes, &note, NT_GNU_PROPERTY_TYPE_0, "GNU");
}

/* Where the next note begins. The property note alone is padded to 8 bytes and lies on a multiple
 * of 8, before which there may be padding that belongs to no note: ld lays sections of both
 * alignments side by side. */
static uint64_t after_note(const struct notes *notes, const struct note *note, uint64_t align)
{
	uint64_t size = note->header.n_descsz;
	uint64_t next;

	if (is_note(notes, note, NT_GNU_PROPERTY_TYPE_0, "GNU"))
		size = ALIGN_UP(size, 8);
	next = ALIGN_UP(note->desc + size, align);
	return notes->aligned_8 && next % 8 != 0 && is_property(notes, next + 4) ? next + 4 : next;
}

/* Walks notes that are padded to `align`, until PVH's or the end. */
static void walk_notes(const struct notes *notes, uint64_t align, struct note_search *search)
{
	uint64_t at = 0;
	struct note note;

	while (read_note(notes, at, align, &note)) {
		if (take_entry(notes, &note, search))
			return;
		at = after_note(notes, &note, align);
	}
	/* Less than a header is padding. */
	if (at < notes->size && notes->size - at >= sizeof(note.header))
		pass_over(search, "a note at byte %" PRIu64 " runs beyond its segment",
		          notes->offset + at);
}

/* Looks for PVH's note in one PT_NOTE. Most files whose p_align is 8 have notes padded to 4, since
 * ld takes the largest alignment of the sections that it joins; in a few the notes are padded to
 * 8. */
static int search_notes(const struct boot_image *image, const Elf64_Phdr *phdr,
                        struct problems *problems, struct note_search *search)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	struct notes notes = { .size = phdr->p_filesz,
		               .offset = phdr->p_offset,
		               .aligned_8 = phdr->p_align == 8 };
	int r;

	if (phdr->p_filesz == 0)
		return 0;
	if (!in_file(image, phdr->p_offset, phdr->p_filesz)) {
		pass_over(search,
		          "its notes are %" PRIu64 " bytes at byte %" PRIu64
		          ", the file has %" PRIu64,
		          phdr->p_filesz, phdr->p_offset, image->size);
		return 0;
	}
	if (phdr->p_filesz > NOTES_SIZE_MAX) {
		pass_over(search,
		          "it has %" PRIu64 " bytes of notes, of which at most %" PRIu64
		          " are read",
		          phdr->p_filesz, (uint64_t)NOTES_SIZE_MAX);
		return 0;
	}
	bytes = malloc(phdr->p_filesz);
	if (!bytes)
		return problems_add(problems, ERROR_CODE_OS_FAILED, ENOMEM, image->field,
		                    "no memory to read the %s's notes", image->what);
	r = boot_image_read(image, phdr->p_offset, bytes, phdr->p_filesz, problems);
	if (r < 0)
		return r;
	notes.bytes = bytes;
	walk_notes(&notes, 4, search);
	if (!search->found && notes.aligned_8)
		walk_notes(&notes, 8, search);
	return 0;
}

static int refuse_without_note(const struct boot_image *image, const struct note_search *search,
                               struct problems *problems)
{
	if (search->unreadable[0])
		return boot_image_refuse(
			image, problems,
			"is an ELF file without a PVH entry note that can be read: "
			"%s: build it anew, or give the bzImage",
			search->unreadable);
	return boot_image_refuse(image, problems,
	                         "is an ELF file without a PVH entry note: build it with "
	                         "CONFIG_PVH=y, or give the bzImage");
}

/* Checks that the entry lies in code from the file. */
static int check_entry(const struct boot_image *image, const struct elf_plan *plan,
                       struct problems *problems)
{
	for (size_t i = 0; i < plan->count; i++) {
		const struct elf_segment *segment = &plan->segments[i];

		if (plan->entry >= segment->base &&
		    plan->entry - segment->base < segment->file_size)
			return 0;
	}
	return boot_image_refuse(image, problems,
	                         "is corrupt: its PVH entry 0x%" PRIx64
	                         " is in none of its segments",
	                         plan->entry);
}

int elf_plan(const struct boot_image *image, const struct guest_memory *memory,
             struct problems *problems, struct elf_plan *ret)
{
	uint64_t ram_end = guest_memory_below_hole(memory);
	Elf64_Phdr phdrs[ELF_SEGMENTS_MAX];
	struct note_search search = { 0 };
	struct elf_plan plan = { 0 };
	Elf64_Ehdr ehdr;
	int r;

	if (image->size < sizeof(ehdr))
		return boot_image_refuse(image, problems,
		                         "is truncated: %" PRIu64
		                         " bytes do not hold an ELF header",
		                         image->size);
	r = boot_image_read(image, 0, &ehdr, sizeof(ehdr), problems);
	if (r < 0)
		return r;
	r = check_header(image, &ehdr, problems);
	if (r < 0)
		return r;
	r = boot_image_read(image, ehdr.e_phoff, phdrs, ehdr.e_phnum * sizeof(*phdrs), problems);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ehdr.e_phnum; i++) {
		r = 0;
		if (phdrs[i].p_type == PT_LOAD)
			r = add_segment(image, &phdrs[i], i, ram_end, problems, &plan);
		else if (phdrs[i].p_type == PT_NOTE && !search.found)
			r = search_notes(image, &phdrs[i], problems, &search);
		if (r < 0)
			return r;
	}
	if (!search.found)
		return refuse_without_note(image, &search, problems);
	plan.entry = search.entry;
	r = check_entry(image, &plan, problems);
	if (r < 0)
		return r;
	plan.limits.base = plan.segments[0].base;
	for (size_t i = 1; i < plan.count; i++)
		plan.limits.base = MIN(plan.limits.base, plan.segments[i].base);
	plan.limits.initrd_limit = INITRD_LIMIT;
	plan.limits.cmdline_max = CMDLINE_MAX;
	*ret = plan;
	return 0;
}

static void fill_start_page(const struct kernel_handover *handover, struct start_page *page)
{
	const uint64_t base = LAYOUT_PVH_START_INFO;

	memset(page, 0, sizeof(*page));
	page->info = (struct hvm_start_info){
		.magic = START_MAGIC,
		.version = START_VERSION,
		.cmdline_paddr = LAYOUT_CMDLINE,
		.rsdp_paddr = handover->rsdp,
		.memmap_paddr = base + offsetof(struct start_page, memmap),
		.memmap_entries = (uint32_t)handover->e820.count,
	};
	if (handover->initrd_size > 0) {
		page->info.nr_modules = 1;
		page->info.modlist_paddr = base + offsetof(struct start_page, initrd);
		page->initrd.paddr = handover->initrd_base;
		page->initrd.size = handover->initrd_size;
	}
	for (size_t i = 0; i < handover->e820.count; i++)
		page->memmap[i] = (struct hvm_memmap_entry){
			.addr = handover->e820.ranges[i].base,
			.size = handover->e820.ranges[i].size,
			.type = handover->e820.ranges[i].type,
		};
}

int elf_load(const struct boot_image *image, const struct elf_plan *plan,
             const struct kernel_handover *handover, const struct guest_memory *memory,
             struct problems *problems, struct boot_entry *ret)
{
	struct boot_entry entry = { .rip = plan->entry, .rbx = LAYOUT_PVH_START_INFO };
	struct start_page page;
	int r;

	fill_start_page(handover, &page);
	r = boot_place(memory, GPA(LAYOUT_PVH_START_INFO), &page, sizeof(page), "PVH start info",
	               problems);
	if (r < 0)
		return r;
	r = long_mode_write(BOOT_PVH32, memory, problems, &entry);
	if (r < 0)
		return r;
	for (size_t i = 0; i < plan->count; i++) {
		const struct elf_segment *segment = &plan->segments[i];

		r = boot_image_load(image, segment->offset, segment->file_size, GPA(segment->base),
		                    memory, problems);
		if (r < 0)
			return r;
	}
	*ret = entry;
	return 0;
}
