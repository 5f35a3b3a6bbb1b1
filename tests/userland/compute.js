// SPDX-License-Identifier: Apache-2.0
// Computing of many kinds, every result printed: most of it in code that V8 makes while it runs.
'use strict';

const crypto = require('crypto');
const zlib = require('zlib');

let state = 2463534242;
function word() {
	state ^= state << 13;
	state ^= state >>> 17;
	state ^= state << 5;
	return state >>> 0;
}

function digest(data) {
	return crypto.createHash('sha256').update(data).digest('hex').slice(0, 32);
}

function print(name, ...values) {
	console.log(name, values.join(' '));
}

// Hot loops: interpreted at first, then compiled, then compiled again, optimized.
function integers(count) {
	let sum = 0;
	for (let n = 0; n < count; n++)
		sum = (Math.imul(sum, 31) + (n ^ (sum >>> 7))) | 0;
	return sum;
}

function floats(count) {
	let sum = 0;
	for (let n = 1; n < count; n++)
		sum += Math.sqrt(n) / (n + Math.sin(n)) - Math.floor(n * 0.3);
	return sum;
}

// The same function with other types: optimized code is thrown away and made anew.
function add(a, b) {
	return a + b;
}

function deoptimized() {
	const seen = [];
	for (let n = 0; n < 30000; n++)
		seen[0] = add(n, 1);
	for (let n = 0; n < 30000; n++)
		seen[1] = add(n, 0.5);
	for (let n = 0; n < 30000; n++)
		seen[2] = add('s', n);
	seen[3] = add(7n, 8n);
	return seen;
}

function primes(limit) {
	const sieve = new Uint8Array(limit);
	let count = 0;
	for (let n = 2; n < limit; n++) {
		if (sieve[n])
			continue;
		count++;
		for (let m = n * 2; m < limit; m += n)
			sieve[m] = 1;
	}
	return count;
}

class Tree {
	constructor(depth) {
		this.left = depth ? new Tree(depth - 1) : null;
		this.right = depth ? new Tree(depth - 1) : null;
		this.value = depth;
	}

	sum() {
		return this.value + (this.left ? this.left.sum() + this.right.sum() : 0);
	}
}

function fibonacci(n) {
	return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

// Many small functions, each compiled for itself.
function made() {
	let sum = 0;
	for (let n = 0; n < 300; n++) {
		const f = new Function('a', `let s = ${n}; for (let i = 0; i < 50; i++) ` +
			`s = (s * ${n % 7 + 2} + a) % 65521; return s;`);
		for (let k = 0; k < 20; k++)
			sum += f(k);
	}
	return sum;
}

// (func (export "f") (param i32) (result i32): the sum of i * i for i from the parameter to 1)
const wasm = new Uint8Array([
	0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 6, 1, 0x60, 1, 0x7f, 1, 0x7f, 3, 2, 1, 0, 7, 5, 1, 1,
	0x66, 0, 0, 10, 30, 1, 28, 1, 1, 0x7f, 3, 0x40, 0x20, 1, 0x20, 0, 0x20, 0, 0x6c, 0x6a, 0x21,
	1, 0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b, 0x20, 1, 0x0b]);

print('integers', integers(2e6));
print('floats', floats(3e5));
print('deoptimized', ...deoptimized());
print('primes', primes(500000));
print('trees', new Tree(14).sum());
print('fibonacci', fibonacci(25));
print('made', made());
print('wasm', new WebAssembly.Instance(new WebAssembly.Module(wasm)).exports.f(100000));

const numbers = Array.from({length: 20000}, word);
print('sorted', digest([...numbers].sort((a, b) => a - b).join()));
print('doubles', digest(Float64Array.from(numbers, (n) => Math.log(n + 1) * 1e-3).join()));
const counts = new Map();
for (const n of numbers)
	counts.set(n % 97, (counts.get(n % 97) || 0) + 1);
print('map', digest(JSON.stringify([...counts])));
print('json', digest(JSON.stringify(JSON.parse(JSON.stringify({numbers, nested: [{a: [1, {}]}]})))));
print('big', (3n ** 2000n % (2n ** 521n - 1n)).toString(36));
const text = numbers.map((n) => n.toString(36)).join(' ');
print('text', (text.match(/[aeiou]+\d/g) || []).length,
	digest(text.replace(/(\w+) (\w+)/g, '$2-$1').toUpperCase()));
print('unicode', 'Grüße'.normalize('NFD').length, 'straße'.toUpperCase(), 'ﬁ'.normalize('NFKC'));
const packed = zlib.deflateSync(text, {level: 9});
print('zlib', packed.length, zlib.inflateSync(packed).toString() === text);
print('pbkdf2', crypto.pbkdf2Sync('password', 'salt', 1000, 32, 'sha512').toString('hex'));
print('date', new Date(Date.UTC(2024, 1, 29)).toISOString());

(async () => {
	let sum = 0;
	for await (const n of (async function* () {
		for (let k = 0; k < 2000; k++)
			yield k;
	})())
		sum += n;
	print('awaited', sum);
})();
