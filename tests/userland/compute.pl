# SPDX-License-Identifier: Apache-2.0
# Computing of many kinds, every result printed.
use strict;
use warnings;
use Digest::MD5 qw(md5_hex);
use Digest::SHA qw(sha1_hex sha256_hex);
use List::Util qw(sum reduce);
use MIME::Base64;
use POSIX qw(floor fmod);
use Math::BigInt;

my $seed = 12345;
sub next_number { $seed = ($seed * 1103515245 + 12345) % 2147483648; return $seed }

my @numbers = map { next_number() / 65536 } 1 .. 2000;
printf "sum %.17g, product of logs %.17g\n", sum(@numbers), reduce { $a * log($b + 2) / 9 } 1, @numbers;
printf "%s %.17g\n", $_->[0], $_->[1] for (["sin", sin 1.25], ["cos", cos 2.5], ["exp", exp 0.7],
	["sqrt", sqrt 2], ["atan2", atan2 1, 3], ["pow", 1.7 ** 33.3], ["fmod", fmod 1e9, 7.3]);
print "integers ", join(" ", 7 % -3, -7 % 3, 2 ** 52 + 1, 18446744073709551615, 1 << 40, ~0 >> 3), "\n";
print "big ", Math::BigInt->new(3)->bpow(300), " ", Math::BigInt->new(2)->bpow(127)->bsub(1)->bmodpow(5, 97), "\n";
my @sorted = sort { $a <=> $b } @numbers;
print "sorted ", md5_hex(join ",", @sorted), "\n";
my %count;
$count{$_ % 17}++ for map { floor($_) } @numbers;
print "counts ", join(" ", map { "$_=$count{$_}" } sort { $a <=> $b } keys %count), "\n";
my $text = join " ", map { sprintf "w%x", $_ * 7919 % 10007 } 1 .. 3000;
my $vowels = () = $text =~ /[aeiou]/g;
(my $swapped = $text) =~ s/(w\w+) (w\w+)/$2 $1/g;
$swapped =~ tr/a-f/A-F/;
print "text $vowels ", sha1_hex($swapped), " ", length(join "", reverse split //, $text), "\n";
print "packed ", unpack("H*", pack "nNvVqd>f<w", 1, 2, 3, 4, -5, 0.1, 0.2, 12345), "\n";
print "sha256 ", sha256_hex($text x 10), " ", md5_hex(encode_base64 $text), "\n";
print "unicode ", join(" ", map { sprintf "%04x", ord } split //, lc "\x{c4}\x{3a9}\x{416}"), "\n";
