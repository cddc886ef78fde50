/* One byte at a time: each goes out as it is, but those of a value that is a link are held until it ends. The states
 * are those of the HTML standard's tokenizer (13.2.5), as far as they tell where a tag begins and ends. */
#include "server/html_links.h"

#include "base/cleanup.h"

enum state {
    TEXT,
    OPEN,   /* behind "<" */
    CLOSE,  /* behind "</" */
    MARKUP, /* behind "<!" */
    MARKUP_DASH,
    COMMENT,
    COMMENT_BANG, /* behind "--!" in it */
    BOGUS,        /* a doctype and whatever else ends with the next '>' */
    ELEMENT,      /* in the name of an element */
    BEFORE_ATTRIBUTE,
    ATTRIBUTE,
    AFTER_ATTRIBUTE,
    BEFORE_VALUE,
    QUOTED,
    UNQUOTED,
    RAW,       /* in the text of an element that holds no tags */
    PLAINTEXT, /* the same, to the end of the document */
};

/* Of a script: a comment inside it, and a script inside that. */
enum escape { NOT_ESCAPED, ESCAPED, ESCAPED_TWICE };

static const struct {
    const char *element;
    const char *attributes[4];
} link_attributes[] = {
    {"a", {"href"}},
    {"applet", {"codebase"}},
    {"area", {"href"}},
    {"audio", {"src"}},
    {"base", {"href"}},
    {"blockquote", {"cite"}},
    {"body", {"background"}},
    {"button", {"formaction"}},
    {"command", {"icon"}},
    {"del", {"cite"}},
    {"embed", {"src"}},
    {"form", {"action"}},
    {"frame", {"longdesc", "src"}},
    {"head", {"profile"}},
    {"html", {"manifest"}},
    {"iframe", {"longdesc", "src"}},
    {"img", {"longdesc", "src", "usemap"}},
    {"input", {"src", "usemap", "formaction"}},
    {"ins", {"cite"}},
    {"link", {"href"}},
    {"object", {"classid", "codebase", "data", "usemap"}},
    {"q", {"cite"}},
    {"script", {"src"}},
    {"source", {"src"}},
    {"video", {"poster", "src"}},
};

static const char *const raw_elements[] = {"iframe", "noembed",  "noframes", "noscript", "script",
                                           "style",  "textarea", "title",    "xmp"};

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == '\f';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* ---- Names ---- */

static void name_add(struct html_name *name, char c)
{
    if (name->size < HTML_NAME_MAX) {
        name->text[name->size] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
        name->text[name->size + 1] = 0;
    }
    name->size += name->size <= HTML_NAME_MAX;
}

static bool name_is(const struct html_name *name, const char *text)
{
    return name->size == strlen(text) && memcmp(name->text, text, name->size) == 0;
}

static bool is_link(const struct html_links *html)
{
    for (size_t i = 0; i < ARRAY_COUNT(link_attributes) && !html->end_tag; i++)
        for (size_t j = 0; j < ARRAY_COUNT(link_attributes[i].attributes); j++)
            if (name_is(&html->element, link_attributes[i].element) && link_attributes[i].attributes[j] &&
                name_is(&html->attribute, link_attributes[i].attributes[j]))
                return true;
    return false;
}

/* ---- Values ---- */

static void begin_value(struct html_links *html, int state)
{
    html->state = state;
    html->holds = is_link(html);
}

static void end_value(struct html_links *html, struct buffer *out)
{
    if (!html->holds)
        return;
    html->holds = false;
    const struct buffer *value = &html->value;
    if (!value->size || !proxy_link_rewrite(html->links, value->data, value->size, true, out))
        buffer_add(out, value->data, value->size);
    buffer_clear(&html->value);
}

static void add_to_value(struct html_links *html, char c, struct buffer *out)
{
    if (html->holds && html->value.size == PROXY_LINK_MAX) {
        html->holds = false;
        buffer_add(out, html->value.data, html->value.size);
        buffer_clear(&html->value);
    }
    buffer_add_char(html->holds ? &html->value : out, c);
}

/* ---- Tags ---- */

static void begin_tag(struct html_links *html, bool end_tag, char c)
{
    html->state = ELEMENT;
    html->end_tag = end_tag;
    html->element.size = 0;
    name_add(&html->element, c);
}

/* Its '>' has come. */
static void end_of_tag(struct html_links *html)
{
    html->state = TEXT;
    html->tail.size = 0;
    html->escape = NOT_ESCAPED;
    html->dashes = 0;
    for (size_t i = 0; i < ARRAY_COUNT(raw_elements) && !html->end_tag; i++)
        if (name_is(&html->element, raw_elements[i]))
            html->state = RAW;
    if (!html->end_tag && name_is(&html->element, "plaintext"))
        html->state = PLAINTEXT;
}

/* Behind the name of the element, or behind an attribute. */
static void before_attribute(struct html_links *html, char c)
{
    html->state = BEFORE_ATTRIBUTE;
    if (c == '>') {
        end_of_tag(html);
    } else if (c != '/' && !is_space(c)) {
        html->state = ATTRIBUTE;
        html->attribute.size = 0;
        name_add(&html->attribute, c);
    }
}

static void in_attribute(struct html_links *html, char c)
{
    if (c == '=')
        html->state = BEFORE_VALUE;
    else if (is_space(c))
        html->state = AFTER_ATTRIBUTE;
    else if (c == '/' || c == '>')
        before_attribute(html, c);
    else
        name_add(&html->attribute, c);
}

static void after_attribute(struct html_links *html, char c)
{
    if (c == '=')
        html->state = BEFORE_VALUE;
    else if (!is_space(c))
        before_attribute(html, c);
}

static void in_tag(struct html_links *html, char c, struct buffer *out)
{
    bool ends_value = html->state == QUOTED ? c == html->quote : is_space(c) || c == '>';
    switch (html->state) {
    case ELEMENT:
        if (c == '/' || c == '>' || is_space(c))
            before_attribute(html, c);
        else
            name_add(&html->element, c);
        break;
    case BEFORE_ATTRIBUTE:
        before_attribute(html, c);
        break;
    case ATTRIBUTE:
        in_attribute(html, c);
        break;
    case AFTER_ATTRIBUTE:
        after_attribute(html, c);
        break;
    case BEFORE_VALUE:
        if (c == '>') {
            end_of_tag(html);
        } else if (c == '"' || c == '\'') {
            html->quote = c;
            begin_value(html, QUOTED);
        } else if (!is_space(c)) {
            begin_value(html, UNQUOTED);
            add_to_value(html, c, out);
            return;
        }
        break;
    default: /* in a value */
        if (!ends_value) {
            add_to_value(html, c, out);
            return;
        }
        end_value(html, out);
        before_attribute(html, html->state == QUOTED ? ' ' : c);
    }
    buffer_add_char(out, c);
}

/* ---- Comments and the like ---- */

static void in_comment(struct html_links *html, char c)
{
    bool bang = html->state == COMMENT_BANG;
    html->state = COMMENT;
    if (c == '>' && (bang || html->dashes >= 2 || html->first)) {
        html->state = TEXT;
    } else if (c == '-') {
        html->dashes = bang ? 1 : html->dashes + (html->dashes < 2);
    } else {
        if (c == '!' && html->dashes >= 2 && !bang)
            html->state = COMMENT_BANG;
        html->dashes = 0;
        html->first = false;
    }
}

/* Behind '<', until it is known what begins. */
static void in_opening(struct html_links *html, char c)
{
    int state = html->state;
    if (is_letter(c) && (state == OPEN || state == CLOSE)) {
        begin_tag(html, state == CLOSE, c);
    } else if (state == OPEN) {
        html->state = c == '/' ? CLOSE : c == '!' ? MARKUP : c == '?' ? BOGUS : c == '<' ? OPEN : TEXT;
    } else if (c == '>') {
        html->state = TEXT;
    } else if (state == MARKUP && c == '-') {
        html->state = MARKUP_DASH;
    } else if (state == MARKUP_DASH && c == '-') {
        html->state = COMMENT;
        html->dashes = 0;
        html->first = true;
    } else {
        html->state = BOGUS;
    }
}

/* ---- Raw text ---- */

/* Whether the tail is `before`, `name` and then a character that ends a name. */
static bool tail_is(const struct html_name *tail, const char *before, const char *name)
{
    size_t n = strlen(before), m = strlen(name);
    return tail->size == n + m + 1 && memcmp(tail->text, before, n) == 0 && memcmp(tail->text + n, name, m) == 0 &&
           (is_space(tail->text[n + m]) || tail->text[n + m] == '/' || tail->text[n + m] == '>');
}

/* Scripts may hold a comment with a script in it, whose end is not theirs. */
static void in_script(struct html_links *html, char c)
{
    const struct html_name *tail = &html->tail;
    if (html->escape == NOT_ESCAPED && tail->size == 4 && memcmp(tail->text, "<!--", 4) == 0) {
        html->escape = ESCAPED;
        html->dashes = 2;
    } else if (c == '>' && html->dashes >= 2) {
        html->escape = NOT_ESCAPED;
        html->dashes = 0;
    } else {
        html->dashes = c == '-' ? html->dashes + (html->dashes < 2) : 0;
    }
    if (html->escape == ESCAPED && tail_is(tail, "<", "script"))
        html->escape = ESCAPED_TWICE;
    else if (html->escape == ESCAPED_TWICE && tail_is(tail, "</", "script"))
        html->escape = ESCAPED;
}

static void in_raw_text(struct html_links *html, char c)
{
    bool hidden = html->escape == ESCAPED_TWICE;
    if (c == '<')
        html->tail.size = 0;
    if (c == '<' || html->tail.size)
        name_add(&html->tail, c);
    if (name_is(&html->element, "script"))
        in_script(html, c);
    if (hidden || !tail_is(&html->tail, "</", html->element.text))
        return;
    html->end_tag = true;
    before_attribute(html, c);
}

/* ---- All of it ---- */

static void step(struct html_links *html, char c, struct buffer *out)
{
    switch (html->state) {
    case TEXT:
        html->state = c == '<' ? OPEN : TEXT;
        break;
    case OPEN:
    case CLOSE:
    case MARKUP:
    case MARKUP_DASH:
        in_opening(html, c);
        break;
    case COMMENT:
    case COMMENT_BANG:
        in_comment(html, c);
        break;
    case BOGUS:
        html->state = c == '>' ? TEXT : BOGUS;
        break;
    case RAW:
        in_raw_text(html, c);
        break;
    case PLAINTEXT:
        break;
    default:
        in_tag(html, c, out);
        return;
    }
    buffer_add_char(out, c);
}

void html_links_feed(struct html_links *html, const char *data, size_t size, struct buffer *out)
{
    for (size_t i = 0; i < size; i++) {
        if (html->state == TEXT && data[i] != '<') { /* most of most documents */
            const char *next = memchr(data + i, '<', size - i);
            size_t n = next ? (size_t)(next - data) - i : size - i;
            buffer_add(out, data + i, n);
            i += n - 1;
        } else {
            step(html, data[i], out);
        }
    }
}

void html_links_end(struct html_links *html, struct buffer *out)
{
    html->holds = false;
    buffer_add(out, html->value.data, html->value.size);
    buffer_clear(&html->value);
}

void html_links_free(struct html_links *html)
{
    buffer_free(&html->value);
}
