#include "crc.h"

unsigned long crc_more(unsigned long check, const unsigned char *bytes, unsigned long size) {
  check ^= 0xffffffffUL;
  while (size--) {
    check ^= *bytes++;
    for (int bit = 0; bit < 8; bit++)
      check = check >> 1 ^ (0xedb88320UL & -(check & 1));
  }
  return check ^ 0xffffffffUL;
}
