package scenarios;

import java.util.ArrayList;
import java.util.List;

/** What must come back as it was sent; no value is a tombstone, no partition goes by key. */
record Item(String key, String value, String header, Integer partition, Long timestamp) {
    Item(String key, String value, String header) {
        this(key, value, header, null, null);
    }

    static List<Item> numbered(String tag, int count) {
        List<Item> items = new ArrayList<>();
        for (int n = 0; n < count; n++) {
            items.add(new Item("k" + n % 7, tag + " " + n, "h" + n / 50));
        }
        return items;
    }

    Item in(int partition) {
        return new Item(key, value, header, partition, timestamp);
    }

    Item at(long timestamp) {
        return new Item(key, value, header, partition, timestamp);
    }
}
