/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest without an operating system, for what would cost a kernel's boot without need. Entered by
 * PVH (32-bit protected mode, no paging, interrupts off); its command line says what it does:
 *
 *	off		says "bare" and powers off
 *	wait		says "bare" and halts for ever
 *	spin		says "bare" and loops for ever
 *	flood N		writes N bytes of a known pattern (see bare.py), powers off
 *	echo N		writes back the N bytes that it reads, powers off
 *	lines N		writes N lines back as they come, powers off
 *	memory		says whether RAM reads as zero, fills it, and waits for a key:
 *			k, 9 reset by the i8042, by port 0xCF9; o power off
 *	button		waits for the power button, then powers off
 *	keys		says the scan codes that the keyboard sends; Delete ends it by power-off
 *	exit N		ends by the debug-exit port
 *	panic		reports a panic by the pvpanic port
 *	fault		loads an empty IDT and executes an invalid instruction: a triple fault
 *	unclaimed	says what a port and an address give that nobody claims, powers off
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;

#define COM1       0x3f8
#define COM1_LSR   (COM1 + 5)
#define LSR_DR     0x01
#define LSR_THRE   0x20
#define I8042_DATA 0x60
#define I8042_CMD  0x64
#define PM1_STS    0x600
#define PM1_EN     0x602
#define PM1_CNT    0x604
#define PWRBTN     0x100
#define SLP_S5     (7 << 10 | 1 << 13)

/* What "memory" looks at: above this program, below the smallest RAM that the tests give. */
#define AREA_BEGIN 0x200000
#define AREA_END   0x1000000

/* The beginning of Xen's struct hvm_start_info. */
struct start_info {
	u32 magic, version, flags, modules;
	unsigned long long modlist, cmdline;
};

/* XEN_ELFNOTE_PHYS32_ENTRY, type 18 */
__asm__(".pushsection .note.PVH, \"a\", @note\n"
	"	.balign 4\n"
	"	.long 4, 4, 18\n"
	"	.asciz \"Xen\"\n"
	"	.long _start\n"
	".popsection\n"
	".text\n"
	".globl _start\n"
	"_start:\n"
	"	movl $0x1f0000, %esp\n"
	"	pushl %ebx\n"
	"	call start\n"
	"1:	cli\n"
	"	hlt\n"
	"	jmp 1b\n");

void start(const struct start_info *info);

static void out8(u16 port, u8 value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static void out16(u16 port, u16 value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static u8 in8(u16 port)
{
	u8 value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static u16 in16(u16 port)
{
	u16 value;

	__asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static void put(u8 byte)
{
	while (!(in8(COM1_LSR) & LSR_THRE))
		;
	out8(COM1, byte);
}

static void say(const char *text)
{
	while (*text)
		put((u8)*text++);
}

static void say_hex(u32 value, int digits)
{
	while (digits--)
		put((u8) "0123456789abcdef"[(value >> digits * 4) & 15]);
}

static u8 get(void)
{
	while (!(in8(COM1_LSR) & LSR_DR))
		;
	return in8(COM1);
}

static void halt(void)
{
	for (;;)
		__asm__ volatile("cli; hlt");
}

static void power_off(void)
{
	out16(PM1_CNT, SLP_S5);
	halt();
}

/* The number behind the first word. */
static u32 number(const char *words)
{
	u32 value = 0;

	while (*words && *words != ' ')
		words++;
	while (*words == ' ')
		words++;
	while (*words >= '0' && *words <= '9')
		value = value * 10 + (u32)(*words++ - '0');
	return value;
}

/* Each byte tells its place: a lost, doubled or changed one is seen. */
static u8 pattern(u32 at)
{
	return at % 64 == 63 ? '\n' : (u8)(' ' + 1 + (at / 64 + at % 64 * 7) % 90);
}

/* A FIFO's worth for each look at the line status, as drivers do. */
static void flood(u32 count)
{
	u8 bytes[16];

	out8(COM1 + 2, 1);
	for (u32 i = 0; i < count;) {
		const u8 *at = bytes;
		u32 n = 0;

		while (n < sizeof(bytes) && i < count)
			bytes[n++] = pattern(i++);
		while (!(in8(COM1_LSR) & LSR_THRE))
			;
		__asm__ volatile("rep outsb" : "+S"(at), "+c"(n) : "d"(COM1) : "memory");
	}
	while (!(in8(COM1_LSR) & LSR_THRE))
		;
}

static void echo(u32 count)
{
	say("bare\n");
	while (count--)
		put(get());
}

static void lines(u32 count)
{
	say("bare\n");
	while (count) {
		u8 byte = get();

		put(byte);
		count -= byte == '\n';
	}
}

static void memory(void)
{
	volatile u32 *word = (volatile u32 *)AREA_BEGIN, *end = (volatile u32 *)AREA_END;
	u32 dirty = 0;

	for (; word < end; word++) {
		dirty += *word != 0;
		*word = 0xdeadbeef;
	}
	say("words that are not zero: ");
	say_hex(dirty, 8);
	say("\n");
	for (;;) {
		switch (get()) {
		case 'k':
			out8(I8042_CMD, 0xfe);
			break;
		case '9':
			out8(0xcf9, 0x02);
			out8(0xcf9, 0x06);
			break;
		case 'o':
			power_off();
		}
	}
}

static void button(void)
{
	out16(PM1_STS, PWRBTN);
	out16(PM1_EN, PWRBTN);
	say("bare\n");
	while (!(in16(PM1_STS) & PWRBTN))
		;
	say("pressed\n");
}

static void keys(void)
{
	u8 code;

	out8(I8042_CMD, 0xae);  /* the keyboard's clock on */
	out8(I8042_DATA, 0xf4); /* enable scanning */
	say("bare\n");
	do {
		while (!(in8(I8042_CMD) & 1))
			;
		code = in8(I8042_DATA);
		say_hex(code, 2);
		say("\n");
	} while (code != 0x53 && code != 0x71);
}

static void fault(void)
{
	struct {
		u16 limit;
		u32 base;
	} __attribute__((packed)) idt = {0, 0};

	__asm__ volatile("lidt %0; ud2" : : "m"(idt));
}

static void unclaimed(void)
{
	volatile u32 *nobody = (volatile u32 *)0xe0000000;

	out16(0x1234, 0x5555);
	*nobody = 0x12345678;
	say_hex(in16(0x1234), 4);
	say_hex(*nobody, 8);
	say("\n");
}

/* Whether the first word is name. */
static int is(const char *words, const char *name)
{
	while (*name && *words == *name) {
		words++;
		name++;
	}
	return !*name && (!*words || *words == ' ');
}

void start(const struct start_info *info)
{
	const char *words = (const char *)(u32)info->cmdline;

	if (is(words, "flood"))
		flood(number(words));
	else if (is(words, "echo"))
		echo(number(words));
	else if (is(words, "lines"))
		lines(number(words));
	else if (is(words, "memory"))
		memory();
	else if (is(words, "button"))
		button();
	else if (is(words, "keys"))
		keys();
	else if (is(words, "exit"))
		out8(0xf4, (u8)number(words));
	else if (is(words, "panic"))
		out8(0x505, 1);
	else if (is(words, "fault"))
		fault();
	else if (is(words, "unclaimed"))
		unclaimed();
	else
		say("bare\n");
	if (is(words, "wait") || is(words, "exit") || is(words, "panic"))
		halt();
	while (is(words, "spin"))
		;
	power_off();
}
