#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# What Debian's userland is asked to do, in the guest and in a chroot of the same files on the host;
# all of its output must be the same in both, but for the sections whose name begins with "speed".
# Standard error belongs to the output. The guest's kernel may be told to do some sections only, by
# lodge.work=NAME,NAME on its command line.
exec 2>&1
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C HOME=/root
export PYTHONDONTWRITEBYTECODE=1 OPENSSL_CONF=/etc/ssl/openssl.cnf TERM=dumb
cd /userland || exit 1
work=$(mktemp -d)
wanted=$(sed -n 's/.*lodge\.work=\([^ ]*\).*/\1/p' /proc/cmdline 2>/dev/null)

section() {
	name=$1
	shift
	case ,$wanted, in
	,, | *,$name,*) ;;
	*) return ;;
	esac
	begin=$(date +%s)
	echo "LODGE-GUEST: begin $name"
	"$@"
	echo "status $?"
	echo "LODGE-GUEST: end $name"
	echo "LODGE-GUEST: $name took $(($(date +%s) - begin)) s"
}

packages() { dpkg-query -W; }

digests() {
	printf abc >"$work/abc"
	for digest in md5 sha1 sha256 sha512 sha3-256 blake2b512; do
		openssl dgst -r -$digest "$work/abc" | sed 's/ .*//' || return
		openssl dgst -r -$digest /usr/bin/perl | sed "s/ .*/ of perl, $digest/" || return
	done
}

ciphers() {
	key=000102030405060708090a0b0c0d0e0f iv=f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff
	for cipher in aes-128-cbc aes-128-ctr aes-256-cbc camellia-128-cbc chacha20 aria-128-ctr; do
		case $cipher in
		*256* | chacha20) k=$key$key ;;
		*) k=$key ;;
		esac
		openssl enc -$cipher -K $k -iv $iv -in /usr/bin/perl -out "$work/secret" || return
		echo "$cipher $(sha256sum <"$work/secret")"
		openssl enc -d -$cipher -K $k -iv $iv -in "$work/secret" |
			cmp - /usr/bin/perl || return
	done
}

# The number before an error is its thread's.
verify() {
	openssl dgst -sha256 -verify "$work/public" -signature "$work/signed" "$1" \
		>"$work/said" 2>&1
	verified=$?
	sed 's/^[0-9A-F]*:error/error/' "$work/said"
	return $verified
}

signatures() {
	for kind in "RSA -pkeyopt rsa_keygen_bits:1024" "EC -pkeyopt ec_paramgen_curve:P-256"; do
		# shellcheck disable=SC2086 # words
		openssl genpkey -quiet -algorithm $kind -out "$work/key" || return
		openssl pkey -in "$work/key" -pubout -out "$work/public" || return
		openssl dgst -sha256 -sign "$work/key" -out "$work/signed" /usr/bin/perl || return
		verify /usr/bin/perl || return
		verify /usr/bin/openssl
	done
	return 0
}

compile() {
	for level in -O0 -O2 "-O3 -mavx2 -mfma"; do
		# shellcheck disable=SC2086 # words
		gcc $level -pthread -S -o "$work/compute.s" compute.c &&
			gcc -o "$work/compute" "$work/compute.s" -lm || return
		echo "gcc $level: $(sha256sum <"$work/compute.s")"
		"$work/compute" || return
	done
}

# A program of 10,000 lines: the same object, and the same output.
build() {
	python3 generate.py >"$work/large.c" && wc -l <"$work/large.c" || return
	gcc -O2 -c -o "$work/large.o" "$work/large.c" && gcc -o "$work/large" "$work/large.o" -lm ||
		return
	sha256sum <"$work/large.o"
	"$work/large"
}

# Python's own tests of a module, one by one; the time they take is no result.
python_tests() {
	python3 -m unittest -v "test.$1" >"$work/said" 2>&1
	tested=$?
	sed 's/^\(Ran .* tests*\) in .*/\1/' "$work/said"
	return $tested
}

small_python() { python3 -c 'print(sum(n * n for n in range(5000)), 2 ** 0.5, sorted("lodge"))'; }

small_compile() {
	echo 'int main(int n, char **v) { return v[n - 1][n * 3 % 2] ? 40 + n : n / 3; }' |
		gcc -O2 -xc -S -o - - | sha256sum
}

speed() { openssl speed -seconds 1 "$@" | grep -E "^(type|md5|sha|AES|ChaCha|rsa) *"; }

section apt apt-get --version
section packages packages
section small_python small_python
section small_compile small_compile
section python python3 compute.py
section perl perl compute.pl
section node node compute.js
section digests digests
section ciphers ciphers
section signatures signatures
section compile compile
section build build
for module in math json struct zlib re float; do
	section test_$module python_tests test_$module
done
section speed_md5 speed md5
section speed_sha256 speed sha256
section speed_gcm speed -evp aes-128-gcm
section speed_chacha speed -evp chacha20-poly1305
section speed_rsa speed rsa2048
rm -rf "$work"
