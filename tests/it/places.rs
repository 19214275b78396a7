//! Writes a small MaxMind database (MaxMind DB File Format Specification 2.0), so that tests need nobody's file.

/// A value of the data section.
enum Value {
    Text(&'static str),
    Double(f64),
    Short(u16),
    Number(u32),
    Long(u64),
    Map(Vec<(&'static str, Value)>),
    List(Vec<Value>),
}

impl Value {
    fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Text(text) => {
                control(2, text.len(), bytes);
                bytes.extend_from_slice(text.as_bytes());
            }
            Self::Double(number) => {
                control(3, 8, bytes);
                bytes.extend_from_slice(&number.to_be_bytes());
            }
            Self::Short(number) => {
                control(5, 2, bytes);
                bytes.extend_from_slice(&number.to_be_bytes());
            }
            Self::Long(number) => {
                // An extended type: its number less seven in a second byte.
                bytes.extend_from_slice(&[8, 9 - 7]);
                bytes.extend_from_slice(&number.to_be_bytes());
            }
            Self::Number(number) => {
                control(6, 4, bytes);
                bytes.extend_from_slice(&number.to_be_bytes());
            }
            Self::Map(pairs) => {
                control(7, pairs.len(), bytes);
                for (key, value) in pairs {
                    Self::Text(key).write(bytes);
                    value.write(bytes);
                }
            }
            Self::List(values) => {
                bytes.extend_from_slice(&[u8::try_from(values.len()).unwrap(), 11 - 7]);
                for value in values {
                    value.write(bytes);
                }
            }
        }
    }
}

/// A control byte: three bits of type, five of size.
fn control(kind: u8, size: usize, bytes: &mut Vec<u8>) {
    let size = u8::try_from(size).unwrap();
    assert!(size < 29, "sizes of a second byte are not needed here");
    bytes.push(kind << 5 | size);
}

/// A database of /24 networks and where they are (latitude, longitude).
pub(crate) fn database(places: &[([u8; 3], (f64, f64))]) -> Vec<u8> {
    let (mut data, mut tree) = (Vec::new(), vec![[None, None]]);
    for (network, (latitude, longitude)) in places {
        let offset = data.len();
        let location =
            Value::Map(vec![("latitude", Value::Double(*latitude)), ("longitude", Value::Double(*longitude))]);
        Value::Map(vec![("location", location)]).write(&mut data);
        let mut node = 0;
        for bit in 0..24 {
            let side = usize::from(network[bit / 8] >> (7 - bit % 8) & 1);
            if bit == 23 {
                tree[node][side] = Some(Branch::Data(offset));
                break;
            }
            if let Some(Branch::Node(next)) = tree[node][side] {
                node = next;
            } else {
                tree.push([None, None]);
                tree[node][side] = Some(Branch::Node(tree.len() - 1));
                node = tree.len() - 1;
            }
        }
    }
    let mut bytes = Vec::new();
    for branch in tree.iter().flatten() {
        let number = match branch {
            None => tree.len(),
            Some(Branch::Node(node)) => *node,
            // Sixteen zero bytes stand between the tree and the data.
            Some(Branch::Data(offset)) => tree.len() + 16 + offset,
        };
        bytes.extend_from_slice(&u32::try_from(number).unwrap().to_be_bytes());
    }
    bytes.extend_from_slice(&[0; 16]);
    bytes.extend_from_slice(&data);
    bytes.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    Value::Map(vec![
        ("binary_format_major_version", Value::Short(2)),
        ("binary_format_minor_version", Value::Short(0)),
        ("build_epoch", Value::Long(1_763_900_000)),
        ("database_type", Value::Text("Test-City")),
        ("description", Value::Map(Vec::new())),
        ("ip_version", Value::Short(4)),
        ("languages", Value::List(Vec::new())),
        ("node_count", Value::Number(u32::try_from(tree.len()).unwrap())),
        ("record_size", Value::Short(32)),
    ])
    .write(&mut bytes);
    bytes
}

/// Where a bit leads to.
#[derive(Clone, Copy)]
enum Branch {
    Node(usize),
    Data(usize),
}
