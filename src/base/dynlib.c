/* SPDX-License-Identifier: Apache-2.0 */
#include "base/dynlib.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

void *dynlib_open(const char *file, const char *const *names, unsigned count, void *calls)
{
	void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);

	for (unsigned i = 0; library && i < count; i++) {
		void *function = dlsym(library, names[i]);

		if (!function) {
			dlclose(library);
			return NULL;
		}
		/* POSIX: a pointer to a function is stored like one to an object. */
		memcpy((char *)calls + i * sizeof(function), &function, sizeof(function));
	}
	return library;
}

void dynlib_close(void *library)
{
	if (library)
		dlclose(library);
}
