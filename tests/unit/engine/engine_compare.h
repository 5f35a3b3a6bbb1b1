/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two states of the same guest at the same point, under two engines or one.
 *
 * What may differ, and why:
 *
 *	tsc, tsc_khz		time goes on
 *	MSRs			one that an engine does not have holds its power-on value
 *	unusable segments	all but selector, base (FS, GS) and the mark itself: the
 *				manuals leave the rest undefined
 *	shadow of STI, MOV SS	AMD-V has one flag for both
 *	vectors, errors		of events that are not there
 *	exception injected	is pending again where the engine begins deliveries anew; its
 *				payload (CR2, DR6) has been told already
 *	FOP, FIP, FDP		kept by AMD's only with an exception pending, and by the
 *				software engine as the host's instruction left them
 *	MXCSR_MASK		the processor's, not the vCPU's
 *	XSTATE_BV		a component in its initial state may have its bit or not
 *	APIC: version		KVM adds EOI suppression to version 0x14
 *	APIC: PPR		computed from the others; KVM does when it is needed
 *	APIC: current count	time goes on
 */
#ifndef LODGE_TESTS_UNIT_ENGINE_ENGINE_COMPARE_H
#define LODGE_TESTS_UNIT_ENGINE_ENGINE_COMPARE_H

#include "base/buf.h"
#include "core/x86/vcpu_state.h"

/* Adds a line to out for each field that differs and may not. */
void engine_compare(const struct vcpu_state *a, const struct vcpu_state *b, struct buf *out);

#endif
