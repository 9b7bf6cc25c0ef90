# Does what it is told, line by line, and tells how it went; see actor.py.
use strict;
use warnings;
use Errno;
use Fcntl qw(:DEFAULT :flock :seek);

our ($fh, $other);
$| = 1;
while (my $line = <STDIN>) {
    chomp $line;
    $line =~ s/^- //;
    print "+ - $$\n";
    $! = 0;
    my $value = eval "no strict; $line";
    my $told;
    if ($@) {
        ($told) = $@ =~ /^(\w+)/;
    } elsif (!$value && $!) {
        ($told) = grep { $!{$_} } sort keys %!;
    } else {
        $told = $value && $value ne '1' && $value ne '0 but true' ? $value : 'ok';
    }
    print "= - $told\n";
}
