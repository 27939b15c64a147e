/* Copyright (c) 2026 the foresight.migration contributors
 * GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 *
 * The lab guest's workload: rewrites memory at a set rate and checks it, burns CPU, writes and reads its disk, and
 * sends a heartbeat. Settings come from the kernel command line as w.KEY=VALUE and, while it runs, from datagrams to
 * UDP port 7000 ("rate 50 cpu 20"); each datagram is answered with the counters.
 *
 *   mb     size of the rewritten region in MiB (command line only)
 *   rate   MiB rewritten per second; 0 none, -1 as fast as the CPU goes
 *   spin   empty loops per rewritten page, so that rewriting needs CPU and throttling it bites
 *   cpu    percent of one vCPU burned on top
 *   dio    KiB/s written to and read back from /dev/vda
 *   hb     heartbeat interval in milliseconds
 *   sink   where heartbeats go (command line only);  name  what the guest calls itself in them
 *
 * A heartbeat is the line "HB name seq clock pages bad ioerr": pages rewritten, pages found with another content than
 * was written, disk blocks that failed or came back different.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define BLOCK 65536

static volatile long mb = 16, rate = 0, spin = 0, cpu = 0, dio = 0, hb = 20;
static char sink[64] = "", name[64] = "vm";
static volatile uint64_t pages, bad, ioerr;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void nap(double seconds)
{
    if (seconds <= 0)
        return;
    struct timespec t = { (time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9) };
    nanosleep(&t, 0);
}

/* xorshift64: what fills the pages must not compress */
static uint64_t noise(void)
{
    static uint64_t x = 88172645463325252ull;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x;
}

/* Each page's first word counts the passes over the region: a page that lost a write shows as a wrong count. */
static void *rewrite_memory(void *unused)
{
    size_t size = (size_t)mb << 20, count = size / PAGE, at = 0;
    uint64_t pass = 0, done = 0;
    uint8_t *region = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (region == MAP_FAILED) {
        perror("mmap");
        return unused;
    }
    for (size_t i = 0; i < size / 8; i++)
        ((uint64_t *)region)[i] = noise();
    for (size_t i = 0; i < count; i++)
        *(uint64_t *)(region + i * PAGE) = 0;
    printf("READY %ld MiB\n", mb);
    fflush(stdout);
    double start = now();
    long asked = rate;
    for (;;) {
        if (rate == 0 || rate != asked) {
            asked = rate;
            start = now();
            done = 0;
            if (rate == 0)
                nap(0.02);
            continue;
        }
        for (int i = 0; i < 64; i++) {
            uint64_t *counter = (uint64_t *)(region + at * PAGE);
            if (*counter != pass)
                bad++;
            *counter = pass + 1;
            for (volatile long turns = spin; turns > 0; turns--) {
            }
            if (++at == count) {
                at = 0;
                pass++;
            }
        }
        done += 64;
        pages += 64;
        if (rate > 0) {
            double ahead = start + done * (double)PAGE / (rate * 1048576.0) - now();
            if (ahead > 0.002) {
                nap(ahead);
            } else if (ahead < -1) { /* it was stopped for a while: do not catch up */
                start = now();
                done = 0;
            }
        }
    }
}

static void *burn_cpu(void *unused)
{
    volatile uint64_t sum = 0;
    for (;;) {
        if (cpu <= 0) {
            nap(0.05);
            continue;
        }
        double end = now() + cpu / 1000.0;
        while (now() < end)
            for (int i = 0; i < 1000; i++)
                sum += i;
        nap((100 - cpu) / 1000.0);
    }
    return unused;
}

static void *write_disk(void *unused)
{
    int fd = open("/dev/vda", O_RDWR | O_SYNC);
    uint8_t *block;
    uint64_t offset = 0, generation = 1;
    if (fd < 0 || posix_memalign((void **)&block, PAGE, BLOCK))
        return unused;
    uint64_t size = lseek(fd, 0, SEEK_END);
    for (;;) {
        if (dio <= 0) {
            nap(0.05);
            continue;
        }
        memset(block, 0, BLOCK);
        memcpy(block, &generation, 8);
        if (pwrite(fd, block, BLOCK, offset) != BLOCK) {
            ioerr++;
        } else {
            posix_fadvise(fd, offset, BLOCK, POSIX_FADV_DONTNEED);
            memset(block, 0xff, 16);
            if (pread(fd, block, BLOCK, offset) != BLOCK || memcmp(block, &generation, 8))
                ioerr++;
        }
        generation++;
        offset += BLOCK;
        if (offset + BLOCK > size)
            offset = 0;
        nap(64.0 / dio);
    }
}

static void set(const char *key, const char *value)
{
    struct { const char *key; volatile long *number; } numbers[] = {
        { "mb", &mb }, { "rate", &rate }, { "spin", &spin }, { "cpu", &cpu }, { "dio", &dio }, { "hb", &hb },
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!strcmp(key, numbers[i].key))
            *numbers[i].number = atol(value);
    if (!strcmp(key, "sink"))
        snprintf(sink, sizeof sink, "%s", value);
    if (!strcmp(key, "name"))
        snprintf(name, sizeof name, "%s", value);
}

static void *obey(void *unused)
{
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in here = { .sin_family = AF_INET, .sin_port = htons(7000) }, peer;
    if (bind(s, (void *)&here, sizeof here))
        return unused;
    for (;;) {
        char text[256], *save = 0, *key, *value;
        socklen_t length = sizeof peer;
        ssize_t got = recvfrom(s, text, sizeof text - 1, 0, (void *)&peer, &length);
        if (got <= 0) {
            nap(0.1);
            continue;
        }
        text[got] = 0;
        for (key = strtok_r(text, " \n", &save); key && (value = strtok_r(0, " \n", &save));
             key = strtok_r(0, " \n", &save))
            set(key, value);
        int size = snprintf(text, sizeof text, "ok rate %ld cpu %ld dio %ld pages %llu bad %llu ioerr %llu", rate, cpu,
                            dio, (unsigned long long)pages, (unsigned long long)bad, (unsigned long long)ioerr);
        sendto(s, text, size, 0, (void *)&peer, length);
    }
}

int main(void)
{
    char line[4096] = "", *save = 0;
    int fd = open("/proc/cmdline", O_RDONLY);
    if (read(fd, line, sizeof line - 1) < 0)
        return 1;
    close(fd);
    for (char *word = strtok_r(line, " \n", &save); word; word = strtok_r(0, " \n", &save)) {
        char *equals = strchr(word, '=');
        if (!strncmp(word, "w.", 2) && equals) {
            *equals = 0;
            set(word + 2, equals + 1);
        }
    }
    void *(*threads[])(void *) = { rewrite_memory, burn_cpu, write_disk, obey };
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
        pthread_t thread;
        pthread_create(&thread, 0, threads[i], 0);
    }
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9100) };
    inet_pton(AF_INET, sink, &to.sin_addr);
    for (uint64_t seq = 0;; seq++) {
        char text[200];
        int size = snprintf(text, sizeof text, "HB %s %llu %.3f %llu %llu %llu\n", name, (unsigned long long)seq, now(),
                            (unsigned long long)pages, (unsigned long long)bad, (unsigned long long)ioerr);
        sendto(s, text, size, 0, (void *)&to, sizeof to);
        nap(hb / 1000.0);
    }
}
