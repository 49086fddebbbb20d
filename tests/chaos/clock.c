/* For LD_PRELOAD: the time of day, moved by the seconds that the file $CHAOS_CLOCK has. Monotonic
   clocks go on. libfaketime can't do this for Python 3.11: with it, time.sleep fails (EINVAL). */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Programs ask for the time thousands of times a second; the file is read every 50 ms. */
static long moved(void) {
    static long seconds = 0;
    static long long next = 0; /* ms */
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    long long present = now.tv_sec * 1000LL + now.tv_nsec / 1000000;
    if (present < next) return seconds;
    const char *path = getenv("CHAOS_CLOCK");
    FILE *file = path ? fopen(path, "re") : NULL;
    if (file) {
        long read = 0;
        if (fscanf(file, "%ld", &read) == 1) seconds = read;
        fclose(file);
    }
    next = present + 50;
    return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += moved();
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    if (clock_gettime(CLOCK_REALTIME, &exact)) return -1;
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *result) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (result) *result = exact.tv_sec;
    return exact.tv_sec;
}
