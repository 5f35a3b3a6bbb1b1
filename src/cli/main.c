/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "lodge/lodge.h"

int main(void)
{
	puts("lodge " LODGE_VERSION);
	return 0;
}
