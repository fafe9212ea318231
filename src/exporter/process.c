/*
 * Beside what is the process's, some of what dashboards ask of a Java machine: its heap is what is allocated here, its
 * limit that of the control group or the machine, and there is no collector, which has never taken any time. The texts
 * say so.
 */
#include "exporter/process.h"

#include <dirent.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

/* /proc/self/stat behind the name, whose fields are numbered from 3 on; "": it cannot be read. */
static void read_stat(char *out, size_t size)
{
    FILE *f = fopen("/proc/self/stat", "r");
    size_t n = f != NULL ? fread(out, 1, size - 1, f) : 0;
    out[n] = '\0';
    if (f != NULL)
        fclose(f);
    char *end = strrchr(out, ')');
    if (end != NULL)
        memmove(out, end + 1, strlen(end + 1) + 1);
}

static double stat_field(const char *stat, int field)
{
    for (int i = 3; i < field && stat != NULL; i++) {
        stat = strchr(*stat == ' ' ? stat + 1 : stat, ' ');
    }
    return stat != NULL ? strtod(stat, NULL) : 0;
}

static double boot_time(void)
{
    char line[256];
    double seconds = 0;
    FILE *f = fopen("/proc/stat", "r");
    while (f != NULL && fgets(line, sizeof(line), f) != NULL)
        if (strncmp(line, "btime ", 6) == 0)
            seconds = strtod(line + 6, NULL);
    if (f != NULL)
        fclose(f);
    return seconds;
}

static double count_descriptors(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (d != NULL && readdir(d) != NULL)
        n++;
    if (d != NULL)
        closedir(d);
    return n > 3 ? n - 3 : 0; /* . and .., and the folder itself */
}

static double memory_limit(void)
{
    double limit = 0;
    FILE *f = fopen("/sys/fs/cgroup/memory.max", "r");
    if (f != NULL && fscanf(f, "%lf", &limit) != 1)
        limit = 0; /* max */
    if (f != NULL)
        fclose(f);
    return limit > 0 ? limit : (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
}

static void gauge(struct exposition *e, const char *name, const char *help, const char *labels, double value)
{
    exposition_add(e, name, SAMPLE_GAUGE, help, str_of(labels), value);
}

static void gather_machine(struct exposition *e, double threads)
{
    struct mallinfo2 heap = mallinfo2();
    static const char collector[] = "There is no collector: always 0.", none[] = "gc=\"none\"",
                      area[] = "area=\"heap\"";
    gauge(e, "jvm_memory_used_bytes", "Bytes that this process, which is no Java machine, has allocated.", area,
          (double)(heap.uordblks + heap.hblkhd));
    gauge(e, "jvm_memory_bytes_used", "Bytes that this process, which is no Java machine, has allocated.", area,
          (double)(heap.uordblks + heap.hblkhd));
    gauge(e, "jvm_memory_max_bytes", "The memory that there may be: the control group's limit, or all.", area,
          memory_limit());
    gauge(e, "jvm_memory_bytes_max", "The memory that there may be: the control group's limit, or all.", area,
          memory_limit());
    gauge(e, "jvm_gc_collection_seconds_sum", collector, none, 0);
    gauge(e, "jvm_gc_collection_seconds_count", collector, none, 0);
    gauge(e, "jvm_threads_current", "Threads of this process.", "", threads);
}

void process_gather(struct exposition *e, bool as_java)
{
    enum { UTIME = 14, STIME = 15, THREADS = 20, STARTED = 22, VIRTUAL = 23, RESIDENT = 24 };
    char stat[1024];
    struct rlimit files;
    double ticks = (double)sysconf(_SC_CLK_TCK);
    read_stat(stat, sizeof(stat));
    exposition_add(e, "process_cpu_seconds_total", SAMPLE_COUNTER, "Time of the processors, user's and system's.",
                   str_of(""), (stat_field(stat, UTIME) + stat_field(stat, STIME)) / ticks);
    gauge(e, "process_start_time_seconds", "When the process was started, since 1970.", "",
          boot_time() + stat_field(stat, STARTED) / ticks);
    gauge(e, "process_virtual_memory_bytes", "Size of the address space.", "", stat_field(stat, VIRTUAL));
    gauge(e, "process_resident_memory_bytes", "Memory in use.", "",
          stat_field(stat, RESIDENT) * (double)sysconf(_SC_PAGESIZE));
    gauge(e, "process_open_fds", "Open descriptors.", "", count_descriptors());
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        gauge(e, "process_max_fds", "Descriptors that may be open.", "", (double)files.rlim_cur);
    if (as_java)
        gather_machine(e, stat_field(stat, THREADS));
    else
        gauge(e, "process_threads", "Threads of this process.", "", stat_field(stat, THREADS));
}
