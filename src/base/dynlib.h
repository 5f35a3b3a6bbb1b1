/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared libraries that are loaded when they are needed and not before: they may be
 * missing, and cost nothing while nobody needs them.
 *
 * What a program may load is written down in its ELF notes (DYNLIB_NOTE), so that
 * packagers and tools can tell. Source: systemd.io/ELF_DLOPEN_METADATA.
 */
#ifndef LODGE_BASE_DYNLIB_H
#define LODGE_BASE_DYNLIB_H

#include <stdint.h>

/* One function of a library: as a member of a struct of pointers, and as a name. */
#define DYNLIB_MEMBER(function) __typeof__(function) *function;
#define DYNLIB_NAME(function)   #function,

/*
 * Loads file ("libzstd.so.1") and stores the addresses of the count functions called names to
 * calls, which may be a struct of as many pointers to functions. Returns a handle, or NULL where
 * the library, or one of the functions, is not there; calls is then undefined. Any thread.
 */
void *dynlib_open(const char *file, const char *const *names, unsigned count, void *calls);

/* Unloads it; its functions may not be called any more. NULL is fine. */
void dynlib_close(void *library);

struct dynlib_note_head {
	uint32_t name_size, text_size, type;
	char name[4];
};

/* At file level: the note that the file `soname` may be loaded, for what. */
#define DYNLIB_NOTE(id, soname, feature)                                           \
	_Alignas(4) static const struct {                                          \
		struct dynlib_note_head head;                                      \
		_Alignas(4) char text[sizeof(DYNLIB_NOTE_TEXT(soname, feature))];  \
	} dynlib_note_##id __attribute__((used, section(".note.dlopen"))) = {      \
		{4, sizeof(DYNLIB_NOTE_TEXT(soname, feature)), 0x407c0c0a, "FDO"}, \
		DYNLIB_NOTE_TEXT(soname, feature)}

#define DYNLIB_NOTE_TEXT(soname, feature) \
	"[{\"feature\":\"" feature "\",\"priority\":\"recommended\",\"soname\":[\"" soname "\"]}]"

#endif
