/* SPDX-License-Identifier: Apache-2.0 */
/* SipHash-2-4 with a 64-bit tag (J.-P. Aumasson, D. J. Bernstein, 2012). Runs in a time that depends on the
 * length only. */
#include "ww_frame.h"

static uint64_t turn(uint64_t v, uint8_t bits)
{
    return v << bits | v >> (64 - bits);
}

static void rounds(uint64_t v[4], uint8_t count)
{
    while (count-- > 0) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = turn(v[1], 13) ^ v[0];
        v[3] = turn(v[3], 16) ^ v[2];
        v[0] = turn(v[0], 32) + v[3];
        v[2] += v[1];
        v[1] = turn(v[1], 17) ^ v[2];
        v[3] = turn(v[3], 21) ^ v[0];
        v[2] = turn(v[2], 32);
    }
}

static uint64_t word(const uint8_t *bytes)
{
    return (uint64_t)ww_get32(bytes) | (uint64_t)ww_get32(bytes + 4) << 32;
}

uint64_t ww_siphash24(const uint8_t key[WW_KEY_BYTES], const uint8_t *bytes, size_t size)
{
    uint64_t k0 = word(key), k1 = word(key + 8), v[4], last = (uint64_t)(size & 0xFF) << 56;
    size_t left = size;
    v[0] = k0 ^ 0x736F6D6570736575u;
    v[1] = k1 ^ 0x646F72616E646F6Du;
    v[2] = k0 ^ 0x6C7967656E657261u;
    v[3] = k1 ^ 0x7465646279746573u;
    for (;;) {
        uint64_t m;
        bool done = left < 8;
        if (done) {
            while (left-- > 0) {
                last |= (uint64_t)bytes[left] << (8 * left);
            }
            m = last;
        } else {
            m = word(bytes);
            bytes += 8;
            left -= 8;
        }
        v[3] ^= m;
        rounds(v, 2);
        v[0] ^= m;
        if (done) {
            break;
        }
    }
    v[2] ^= 0xFF;
    rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
