/* What goes wrong with a broker's folder, and what is found in it. */
#include <stdio.h>

#include "disk/disk.h"
#include "sim.h"

static void folder_of(const struct process *p, char out[64])
{
    snprintf(out, 64, "/%s", p->name);
}

void sim_lose_power(const struct process *p)
{
    char folder[64];
    folder_of(p, folder);
    disk_lose_power(folder, sim_random);
}

bool sim_has_file(const struct process *p, const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "/%s/%s", p->name, name);
    return file_look(path) == FILE_FOUND;
}

static bool ends_with(const char *name, const char *suffix)
{
    const char *dot = strrchr(name, '.');
    return dot != NULL && strcmp(dot, suffix) == 0;
}

static void choose_index(const char *dir, char chosen[256], uint32_t *seen)
{
    struct names files;
    bool ok = dir_list(dir, &files);
    ensure(ok);
    for (size_t i = 0; i < files.n; i++)
        if ((ends_with(files.v[i], ".index") || ends_with(files.v[i], ".timeindex")) && sim_chance(++*seen))
            snprintf(chosen, 256, "%s/%s", dir, files.v[i]);
    names_free(&files);
}

void sim_lose_index(const struct process *p)
{
    char folder[64], chosen[256] = "";
    struct names dirs;
    uint32_t seen = 0;
    folder_of(p, folder);
    bool ok = dir_list(folder, &dirs);
    ensure(ok);
    for (size_t i = 0; i < dirs.n; i++) {
        char dir[200];
        snprintf(dir, sizeof(dir), "%s/%.100s", folder, dirs.v[i]);
        choose_index(dir, chosen, &seen);
    }
    names_free(&dirs);
    if (*chosen != '\0')
        file_remove(chosen);
}

uint8_t *sim_log(const struct process *p, const char *topic, int partition, size_t *len)
{
    char folder[128];
    struct names list;
    struct strbuf all = {0};
    snprintf(folder, sizeof(folder), "/%s/%s-%d", p->name, topic, partition);
    bool ok = dir_list(folder, &list);
    ensure(ok);
    for (size_t i = 0; i < list.n; i++) {
        char path[400];
        snprintf(path, sizeof(path), "%s/%.250s", folder, list.v[i]);
        ok = !ends_with(list.v[i], ".log") || file_load(path, &all) == FILE_FOUND;
        ensure(ok);
    }
    names_free(&list);
    *len = all.len;
    return (uint8_t *)all.p;
}
