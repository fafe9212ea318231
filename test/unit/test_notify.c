/* What a service manager is told, which the test plays. */
#include "test.h"

#include <sys/socket.h>
#include <sys/un.h>

#include "base/notify.h"

/* At `name`, as NOTIFY_SOCKET has it. */
static int listen_at(const char *name)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    size_t len = strlen(name);
    assert_true(len < sizeof(at.sun_path));
    memcpy(at.sun_path, name, len);
    at.sun_path[0] = name[0] == '@' ? '\0' : name[0];
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    assert_int_equal(bind(fd, (const struct sockaddr *)&at, size), 0);
    return fd;
}

static void assert_heard(int fd, const char *expected)
{
    char text[2048];
    ssize_t n = recv(fd, text, sizeof(text) - 1, 0);
    assert_true(n >= 0);
    text[n] = '\0';
    assert_string_equal(text, expected);
}

static void start_with(const char *socket, const char *watchdog_us, const char *watchdog_pid)
{
    const char *const values[][2] = {
        {"NOTIFY_SOCKET", socket}, {"WATCHDOG_USEC", watchdog_us}, {"WATCHDOG_PID", watchdog_pid}};
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        if (values[i][1] != NULL)
            assert_int_equal(setenv(values[i][0], values[i][1], 1), 0);
    notify_start();
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        assert_null(getenv(values[i][0])); /* no child is to speak for its parent */
}

static void notices_arrive(const char *name)
{
    int fd = listen_at(name);
    start_with(name, NULL, NULL);
    assert_true(notify_is_heard());
    notify_say("READY=1\nSTATUS=%d of %s", 3, "three");
    assert_heard(fd, "READY=1\nSTATUS=3 of three");
    notify_stop();
    notify_say("nobody hears this");
    assert_int_equal(recv(fd, (char[1]){0}, 1, MSG_DONTWAIT), -1);
    close(fd);
}

static void notices_go_to_a_path(void **state)
{
    char dir[64], path[96];
    (void)state;
    snprintf(path, sizeof(path), "%s/notify", temp_dir_make(dir));
    notices_arrive(path);
    temp_dir_remove(dir);
}

static void notices_go_to_a_name_of_the_kernels(void **state)
{
    char name[64];
    (void)state;
    snprintf(name, sizeof(name), "@barnabas-test-%d", (int)getpid());
    notices_arrive(name);
}

static void long_notices_are_cut(void **state)
{
    char name[64], longest[4000], text[4000];
    (void)state;
    snprintf(name, sizeof(name), "@barnabas-test-%d", (int)getpid());
    int fd = listen_at(name);
    start_with(name, NULL, NULL);
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    notify_say("STATUS=%s", longest);
    ssize_t n = recv(fd, text, sizeof(text), 0);
    assert_true(n > 100 && n < 2000);
    notify_stop();
    close(fd);
}

static void nobody_need_be_there(void **state)
{
    char longest[300];
    (void)state;
    memset(longest, 'x', sizeof(longest) - 1);
    longest[0] = '/';
    longest[sizeof(longest) - 1] = '\0';
    const char *const names[] = {NULL, "", "@", "relative", longest};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        start_with(names[i], "1000000", NULL);
        assert_false(notify_is_heard());
        assert_int_equal(notify_watchdog_us(), 0);
        notify_say("READY=1");
    }
    start_with("/nobody/listens/here", NULL, NULL);
    notify_say("READY=1");
    notify_stop();
}

static void the_watchdog_of_another_process_is_left_alone(void **state)
{
    char mine[16], other[16];
    (void)state;
    snprintf(mine, sizeof(mine), "%d", (int)getpid());
    snprintf(other, sizeof(other), "%d", (int)getppid());
    const struct {
        const char *us, *pid;
        int64_t expected;
    } cases[] = {{"30000000", NULL, 30000000},
                 {"30000000", mine, 30000000},
                 {"30000000", other, 0},
                 {NULL, mine, 0},
                 {"soon", mine, 0},
                 {"3s", NULL, 0},
                 {"-5", NULL, 0},
                 {"", NULL, 0},
                 {"30000000", "", 0},
                 {"99999999999999999999", NULL, 0}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        start_with("@nobody", cases[i].us, cases[i].pid);
        assert_true(notify_watchdog_us() == cases[i].expected);
    }
    notify_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(notices_go_to_a_path),
        cmocka_unit_test(notices_go_to_a_name_of_the_kernels),
        cmocka_unit_test(long_notices_are_cut),
        cmocka_unit_test(nobody_need_be_there),
        cmocka_unit_test(the_watchdog_of_another_process_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
