"""Reading a list to its end."""


async def all_pages(list_page, size):
    """Return every entry of a list, and the sizes of its pages; `list_page` takes a page size and a cursor."""
    entries, sizes, cursor = [], [], None
    while True:
        page, cursor = await list_page(size, cursor)
        entries += page
        sizes.append(len(page))
        if cursor is None:
            return entries, sizes
