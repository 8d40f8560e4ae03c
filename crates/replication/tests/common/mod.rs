//! What several test programs replicate.

use datastore::fixtures::{TestStore, noise};
use formats::CryptKey;

/// A store with something of everything: an image in two generations, namespaces, an encrypted and a signed snapshot.
pub(crate) fn filled() -> TestStore {
    let source = TestStore::new("source");
    let image = noise(1, 9 << 20);
    let mut later = image.clone();
    later[5 << 20] ^= 1;
    source.backup("", "vm/100", 1_700_000_000, &[("disk.img", &image), ("vm.conf", b"cores: 4")]);
    source.backup("", "vm/100", 1_700_000_100, &[("disk.img", &later), ("vm.conf", b"cores: 4")]);
    source.backup("site/lab", "host/elsa", 1_700_000_050, &[("root.pxar", &noise(2, 300_000))]);
    let key = CryptKey::from_bytes([9; 32]);
    source.encrypted_backup("site", "ct/7", 1_700_000_060, &[("root.pxar", &noise(3, 200_000))], &key);
    source.signed_backup("site", "ct/8", 1_700_000_070, &[("root.pxar", &noise(4, 200_000))], &key);
    source
}
