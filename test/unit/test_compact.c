/* Compaction: the map of keys, and what a pass leaves of a log. */
#include "test.h"

#include "storage/offset_map_internal.h"

/* ---- The map ---- */

static struct bytes key_of(int i, char buf[16])
{
    int n = snprintf(buf, 16, "key %d", i);
    return (struct bytes){(uint8_t *)buf, n};
}

static void the_map_knows_the_last_offset_of_a_key(void **state UNUSED)
{
    struct offset_map *map = offset_map_new(1000 * OFFSET_MAP_ENTRY, 0.9);
    char buf[16];
    for (int i = 0; i < 800; i++)
        assert_true(offset_map_put(map, key_of(i, buf), i));
    for (int i = 0; i < 800; i += 2)
        assert_true(offset_map_put(map, key_of(i, buf), 5000 + i));
    assert_int_equal(offset_map_count(map), 800);
    for (int i = 0; i < 800; i++)
        assert_int_equal(offset_map_get(map, key_of(i, buf)), i % 2 == 0 ? 5000 + i : i);
    assert_int_equal(offset_map_get(map, key_of(800, buf)), -1);
    assert_int_equal(offset_map_get(map, (struct bytes){(const uint8_t *)"", 0}), -1);
    offset_map_free(map);
}

static void the_map_is_full_at_its_load_factor(void **state UNUSED)
{
    struct offset_map *map = offset_map_new(100 * OFFSET_MAP_ENTRY + 5, 0.75);
    char buf[16];
    int i = 0;
    while (offset_map_put(map, key_of(i, buf), i))
        i++;
    assert_int_equal(i, 75);
    assert_int_equal(offset_map_room(map), 75);
    assert_false(offset_map_put(map, key_of(0, buf), 100));
    assert_int_equal(offset_map_get(map, key_of(0, buf)), 0);
    offset_map_free(map);
    map = offset_map_new(100 * OFFSET_MAP_ENTRY, 1.0); /* a key that is not there is still found missing */
    for (i = 0; offset_map_put(map, key_of(i, buf), i); i++)
        ;
    assert_int_equal(offset_map_get(map, key_of(1000, buf)), -1);
    offset_map_free(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_map_knows_the_last_offset_of_a_key),
        cmocka_unit_test(the_map_is_full_at_its_load_factor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
