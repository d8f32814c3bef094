/* squeeze: standard input as gzip on standard output, and what it saved on standard error. */
#include "crc.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

static int squeeze(FILE *from, FILE *to) {
  unsigned char in[65536], out[65536];
  unsigned long check = 0;
  z_stream stream = {0};
  if (deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY) != Z_OK)
    return 1;
  int end = 0;
  while (!end) {
    stream.avail_in = fread(in, 1, sizeof in, from);
    stream.next_in = in;
    end = feof(from) || ferror(from);
    check = crc_more(check, in, stream.avail_in);
    do {
      stream.avail_out = sizeof out;
      stream.next_out = out;
      deflate(&stream, end ? Z_FINISH : Z_NO_FLUSH);
      fwrite(out, 1, sizeof out - stream.avail_out, to);
    } while (stream.avail_out == 0);
  }
  fprintf(stderr, "%lu bytes to %lu, crc %08lx, zlib %s\n", stream.total_in, stream.total_out, check, zlibVersion());
  deflateEnd(&stream);
  return ferror(from) || fflush(to);
}

int main(int argc, char **argv) {
  if (argc > 1 && !strcmp(argv[1], "--version"))
    return puts("squeeze " VERSION) < 0;
  return squeeze(stdin, stdout);
}
