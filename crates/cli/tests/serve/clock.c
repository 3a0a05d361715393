/* Clocks that can be set for one process: the file in CLOCK_OFFSET has the seconds that are added to the time of day, and those that are
   added to the clock that cannot be set, as if so much time had passed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    const char *path = getenv("CLOCK_OFFSET");
    FILE *file = path ? fopen(path, "r") : NULL;
    long of_day = 0, passed = 0;
    if (file && fscanf(file, "%ld %ld", &of_day, &passed) == 2) {
        if (clock == CLOCK_REALTIME) now->tv_sec += of_day;
        if (clock == CLOCK_MONOTONIC) now->tv_sec += passed;
    }
    if (file) fclose(file);
    return result;
}
