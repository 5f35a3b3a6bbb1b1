/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the tables lie and how they find each other; the small ones.
 *
 *	LAYOUT_ACPI  RSDP -> XSDT -> FADT -> FACS, DSDT
 *	       +0x40 FACS         -> MADT
 *	       +0x80 DSDT         -> MCFG
 *	             FADT ...     -> ERST
 *	             XSDT
 *
 * They are written in one pass, straight into guest RAM, an address being known
 * before whoever points to it is written; only the RSDP, which must be first and
 * points to the last, is filled in at the end. This runs on the way to the first
 * guest instruction: no allocation, and only the pages that hold tables are
 * touched.
 */
#include "machine/acpi/tables.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/checked.h"
#include "core/engine.h"
#include "machine/acpi/tables_int.h"
#include "machine/layout.h"

#define TABLE_ALIGN  16
#define FACS_AT      0x40 /* a multiple of 64: ACPI 6.3, 5.2.10 */
#define FACS_SIZE    64
#define FACS_VERSION 2

/* ACPI 6.3, 5.2.6 "System Description Table Header". */
struct table_header {
	char signature[4];
	uint32_t length;
	uint8_t revision;
	uint8_t checksum;
	char oem_id[6];
	char oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} __attribute__((packed));

/* ACPI 6.3, 5.2.5.3 "Root System Description Pointer (RSDP) Structure". */
struct rsdp {
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t extended_checksum; /* of all */
	uint8_t reserved[3];
} __attribute__((packed));

#define RSDP_V1_SIZE 20

_Static_assert(sizeof(struct table_header) == 36, "header of a table");
_Static_assert(sizeof(struct rsdp) == 36, "RSDP");

/* The byte that makes the sum of all len bytes zero; eight at a time in 16-bit lanes, the high
 * bytes of which need not survive. */
static uint8_t checksum(const uint8_t *p, size_t len)
{
	const uint64_t lanes = 0x00ff00ff00ff00ffULL;
	uint64_t sum = 0;
	uint8_t total = 0;

	for (; len >= 8; len -= 8, p += 8) {
		uint64_t v = load_le(p, 8);

		sum = (sum & lanes) + (v & lanes) + (v >> 8 & lanes);
	}
	for (unsigned lane = 0; lane < 64; lane += 16)
		total += (uint8_t)(sum >> lane);
	while (len-- > 0)
		total += *p++;
	return (uint8_t)-total;
}

static void align(struct aml *out, size_t to)
{
	static const uint8_t zeroes[FACS_SIZE];

	assert(to <= sizeof(zeroes));
	aml_raw(out, zeroes, -out->len & (to - 1));
}

size_t acpi_table_begin(struct acpi_area *area, const char *signature, unsigned revision)
{
	struct table_header h = {
		.revision = (uint8_t)revision,
		.oem_id = ACPI_OEM_ID,
		.oem_table_id = ACPI_OEM_TABLE_ID,
		.oem_revision = 1,
		.creator_id = ACPI_CREATOR_ID,
		.creator_revision = 1,
	};
	size_t at;

	memcpy(h.signature, signature, sizeof(h.signature));
	align(&area->out, TABLE_ALIGN);
	at = area->out.len;
	aml_raw(&area->out, &h, sizeof(h));
	return at;
}

uint64_t acpi_table_end(struct acpi_area *area, size_t at)
{
	uint8_t *table = area->out.data + at;
	size_t len = area->out.len - at;

	if (!area->out.overflow) {
		store_le(table + offsetof(struct table_header, length), 4, len);
		table[offsetof(struct table_header, checksum)] = checksum(table, len);
	}
	return area->gpa + at;
}

void acpi_table_end_listed(struct acpi_area *area, size_t at)
{
	assert(area->count < ACPI_XSDT_MAX);
	area->xsdt[area->count++] = acpi_table_end(area, at);
}

/* ACPI 6.3, 5.2.10: no sleep state but S5 is offered, so nobody writes here. */
static uint64_t facs(struct acpi_area *area)
{
	uint8_t table[FACS_SIZE] = "FACS";
	size_t at;

	align(&area->out, FACS_SIZE);
	at = area->out.len;
	store_le(table + 4, 4, FACS_SIZE);
	table[32] = FACS_VERSION;
	aml_raw(&area->out, table, sizeof(table));
	return area->gpa + at;
}

/* PCI Firmware Specification 3.3, 4.1.2 "MCFG Table Description". */
static void mcfg(struct acpi_area *area)
{
	size_t at = acpi_table_begin(area, "MCFG", 1);

	aml_raw_le(&area->out, 0, 8);
	aml_raw_le(&area->out, LAYOUT_ECAM, 8);
	aml_raw_le(&area->out, 0, 2); /* segment group */
	aml_raw_le(&area->out, 0, 1); /* first bus */
	aml_raw_le(&area->out, LAYOUT_ECAM_BUSES - 1, 1);
	aml_raw_le(&area->out, 0, 4);
	acpi_table_end_listed(area, at);
}

/* ACPI 6.3, 18.5.1.2 "Serialization Instruction Entries". */
static void erst(struct acpi_area *area, const struct acpi_config *config)
{
	size_t at = acpi_table_begin(area, "ERST", 1);

	aml_raw_le(&area->out, 48, 4); /* header, with these three fields */
	aml_raw_le(&area->out, 0, 4);
	aml_raw_le(&area->out, config->erst_count, 4);
	for (unsigned i = 0; i < config->erst_count; i++) {
		const struct erst_instruction *entry = &config->erst[i];
		unsigned width = entry->reg_width;

		aml_raw_le(&area->out, entry->action, 1);
		aml_raw_le(&area->out, entry->instruction, 1);
		aml_raw_le(&area->out, entry->flags, 1);
		aml_raw_le(&area->out, 0, 1);
		aml_raw_le(&area->out, 0, 1); /* in system memory */
		aml_raw_le(&area->out, width, 1);
		aml_raw_le(&area->out, 0, 1);
		/* access size: 1 byte .. 4 quadword */
		aml_raw_le(&area->out, width <= 8 ? 1 : width == 16 ? 2 : width == 32 ? 3 : 4, 1);
		aml_raw_le(&area->out, entry->reg, 8);
		aml_raw_le(&area->out, entry->value, 8);
		aml_raw_le(&area->out, entry->mask, 8);
	}
	acpi_table_end_listed(area, at);
}

static uint64_t xsdt(struct acpi_area *area)
{
	size_t at = acpi_table_begin(area, "XSDT", 1);

	aml_raw(&area->out, area->xsdt, area->count * sizeof(area->xsdt[0]));
	return acpi_table_end(area, at);
}

static void rsdp_fill(struct rsdp *r, uint64_t xsdt_at)
{
	struct rsdp filled = {
		.signature = {'R', 'S', 'D', ' ', 'P', 'T', 'R', ' '},
		.oem_id = ACPI_OEM_ID,
		.revision = 2,
		.length = sizeof(*r),
		.xsdt = xsdt_at,
	};

	filled.checksum = checksum((const uint8_t *)&filled, RSDP_V1_SIZE);
	filled.extended_checksum = checksum((const uint8_t *)&filled, sizeof(filled));
	*r = filled;
}

static int config_check(const struct acpi_config *config, struct err *e)
{
	uint64_t end;

	if (config->cpus < 1 || config->cpus > ENGINE_VCPUS_MAX)
		return err_set(e, EINVAL, "ACPI tables: %u CPUs: 1 to %u are possible",
			       config->cpus, ENGINE_VCPUS_MAX);
	if (config->pci_slots > 32 || config->eject_slots > config->pci_slots)
		return err_set(e, EINVAL, "ACPI tables: %u PCI slots: at most 32 are possible",
			       config->pci_slots);
	if (!checked_add(config->pci64_base, config->pci64_size, &end))
		return err_set(e, EINVAL, "ACPI tables: the 64-bit PCI window wraps");
	return 0;
}

int acpi_build(const struct acpi_config *config, struct mem *mem, uint64_t *rsdp, struct err *e)
{
	struct acpi_area area = {.gpa = LAYOUT_ACPI};
	uint8_t *host = mem_ptr_rw(mem, LAYOUT_ACPI, LAYOUT_ACPI_SIZE);
	struct rsdp *root = (struct rsdp *)host;
	uint64_t facs_at, dsdt_at, xsdt_at;
	int ret;

	ret = config_check(config, e);
	if (ret)
		return ret;
	if (!host)
		return err_set(e, EFAULT, "ACPI tables: no RAM at %#x", LAYOUT_ACPI);
	aml_init(&area.out, host, LAYOUT_ACPI_SIZE);
	aml_raw(&area.out, &(struct rsdp){0}, sizeof(*root));
	facs_at = facs(&area);
	assert(facs_at == LAYOUT_ACPI + FACS_AT);
	dsdt_at = acpi_dsdt(&area, config);
	acpi_fadt(&area, config, facs_at, dsdt_at);
	acpi_madt(&area, config);
	mcfg(&area);
	if (config->erst_count > 0)
		erst(&area, config);
	xsdt_at = xsdt(&area);
	if (area.out.overflow)
		return err_set(e, ENOSPC, "ACPI tables: they need more than %u bytes: %s",
			       LAYOUT_ACPI_SIZE, "use fewer devices");
	rsdp_fill(root, xsdt_at);
	mem_written(mem, LAYOUT_ACPI, area.out.len);
	*rsdp = LAYOUT_ACPI;
	return 0;
}
