/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's physical addresses and interrupt numbers, in one place: what
 * machine/pc.c wires, what boot/ tells the kernel and what the ACPI tables say.
 *
 *	0x0000_0000  RAM: boot structures below 640 KiB, ACPI tables from 0xE0000
 *	0xC000_0000  device window: boot timer, virtio-mmio, 32-bit PCI window
 *	0xE800_0000  PCIe configuration space (ECAM), one bus (1 MiB)
 *	0xFEC0_0000  I/O APIC; 0xFEE0_0000 local APICs
 *	0x1_0000_0000  RAM above 4 GiB, then hotplugged and persistent memory
 *
 * ECAM lies below 4 GiB, not above RAM, so that 32-bit guests reach it.
 */
#ifndef LODGE_MACHINE_LAYOUT_H
#define LODGE_MACHINE_LAYOUT_H

#include "base/bits.h"

/* RAM below the device window ends here at most; the rest is at LAYOUT_HIGH_RAM. */
#define LAYOUT_LOW_RAM_END 0xc0000000ULL
#define LAYOUT_HIGH_RAM    0x100000000ULL

/* Boot structures in low RAM, free for the guest once it has read them. */
#define LAYOUT_BOOT_GDT    0x0500
#define LAYOUT_PVH_INFO    0x6000 /* hvm_start_info, module list, memory map */
#define LAYOUT_ZERO_PAGE   0x7000 /* struct boot_params */
#define LAYOUT_PAGE_TABLES 0x9000 /* PML4, PDPT, four page directories: to 0xF000 */
#define LAYOUT_CMDLINE     0x20000
#define LAYOUT_CMDLINE_MAX 0x10000 /* with its NUL */
#define LAYOUT_EBDA        0x9fc00 /* end of usable conventional memory */
#define LAYOUT_ACPI        0xe0000 /* RSDP first, then the tables */
#define LAYOUT_ACPI_SIZE   0x20000
#define LAYOUT_KERNEL      0x100000

#define LAYOUT_MMIO               0xc0000000ULL
#define LAYOUT_BOOT_TIMER         0xc0000000ULL
#define LAYOUT_ERST               0xc0008000ULL /* error record serialization: 64 KiB */
#define LAYOUT_ERST_SIZE          0x10000ULL
#define LAYOUT_VIRTIO_MMIO        0xc0100000ULL
#define LAYOUT_VIRTIO_MMIO_STRIDE 0x1000ULL
#define LAYOUT_PCI32              0xd0000000ULL
#define LAYOUT_PCI32_SIZE         0x18000000ULL
#define LAYOUT_ECAM               0xe8000000ULL
#define LAYOUT_ECAM_BUSES         1
#define LAYOUT_ECAM_SIZE          ((uint64_t)LAYOUT_ECAM_BUSES << 20)
#define LAYOUT_IOAPIC             0xfec00000ULL
#define LAYOUT_LAPIC              0xfee00000ULL

/* Memory that is no RAM from the start begins at a multiple of this, above the RAM: a guest may map
 * it, and keep account of it, in large pieces. */
#define LAYOUT_MEMORY_ALIGN GIB(1)

/* Ports. */
#define LAYOUT_PIC_MASTER 0x20
#define LAYOUT_PIC_SLAVE  0xa0
#define LAYOUT_PIC_ELCR   0x4d0
#define LAYOUT_PIT        0x40
#define LAYOUT_I8042      0x60 /* data 0x60, command 0x64 */
#define LAYOUT_SPEAKER    0x61
#define LAYOUT_RTC        0x70
#define LAYOUT_DEBUG_EXIT 0xf4
#define LAYOUT_COM1       0x3f8
#define LAYOUT_PVPANIC    0x505
#define LAYOUT_ACPI_PM    0x600 /* PM1a event +0, PM1a control +4, PM timer +8, GPE0 +0x10 */
#define LAYOUT_SLOTS      0x620 /* PCI slots whose devices come and go (devices/acpi/slots.h) */
#define LAYOUT_RESET      0xcf9 /* reset control register, as in the ICH */
#define LAYOUT_PCI_CONFIG 0xcf8

/* ISA interrupt lines, which are I/O APIC pins too. */
#define LAYOUT_IRQ_PIT      0 /* I/O APIC pin 2 */
#define LAYOUT_IRQ_KEYBOARD 1
#define LAYOUT_IRQ_COM1     4
#define LAYOUT_IRQ_RTC      8
#define LAYOUT_IRQ_SCI      9 /* level, active high in the MADT override */
#define LAYOUT_IRQ_MOUSE    12
#define LAYOUT_IOAPIC_ID    0 /* a space of its own beside local APIC ids since the xAPIC */

/* PCI slots of virtio devices: this one and those after it. */
#define LAYOUT_VIRTIO_SLOT 1

/* The general-purpose event that tells of a device that came or is to go. */
#define LAYOUT_GPE_SLOTS 1

/* INTx of a device on PCI bus 0: pin 0 (INTA#) to 3 of its slot drives this I/O APIC pin, 16 to 23,
 * so that neighbours do not share; level, active low. */
static inline unsigned layout_pci_gsi(unsigned slot, unsigned pin)
{
	return 16 + ((slot + pin) & 7);
}

#endif
